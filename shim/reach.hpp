// SPDX-License-Identifier: MIT
// reach.hpp: names members that libtorrent's classes show to nobody.
//
// An explicit instantiation may name a private member ([temp.spec]). Each file that includes this
// has its own names: REACH(name, lt::class::member) makes object.*member(name()) that member.
#pragma once

namespace
{

template <typename Name, auto Member> struct reach {
        friend auto member(Name)
        {
                return Member;
        }
};

} // namespace

// NOLINTBEGIN(bugprone-macro-parentheses): a member is named, nothing computed
#define REACH(name, member_)                                                                       \
        struct name {                                                                              \
                friend auto member(name);                                                          \
        };                                                                                         \
        template struct reach<name, &member_>
// NOLINTEND(bugprone-macro-parentheses)
