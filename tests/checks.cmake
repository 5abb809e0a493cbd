# What ctest runs besides the tests of this build: all programs once more with sanitizers, the fuzz
# targets, and the checks of the sources. The other builds are made when a test that takes them is
# to be run. What computes for minutes runs first, one after the other, and gives way (nice) to the
# tests beside it, which wait most of the time.

# sanitizer_build(NAME): the build of that preset, as a fixture; sanitizer_test() hangs a test on it.
function(sanitizer_build name)
        add_test(NAME build.${name}
                COMMAND nice ${CMAKE_COMMAND} --workflow --preset ${name}
                WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
        set_tests_properties(build.${name} PROPERTIES
                LABELS "${name}" FIXTURES_SETUP ${name} TIMEOUT 1200 COST 1000
                RESOURCE_LOCK computing)
endfunction()

function(sanitizer_test test name)
        set_property(TEST ${test} PROPERTY FIXTURES_REQUIRED ${name})
        set_property(TEST ${test} APPEND PROPERTY LABELS ${name})
endfunction()

sanitizer_build(asan)
sanitizer_build(tsan)
sanitizer_build(fuzz)

foreach(check format wings tidy tidy_paths tidy_shim tidy_tests cppcheck shell python)
        add_test(NAME check.${check} COMMAND nice ${CMAKE_SOURCE_DIR}/scripts/check ${check})
        set_tests_properties(check.${check} PROPERTIES LABELS check TIMEOUT 1200)
endforeach()
set_tests_properties(check.format check.wings PROPERTIES LABELS "check;core")
set_tests_properties(check.tidy check.tidy_paths check.tidy_shim check.tidy_tests check.cppcheck PROPERTIES
        RESOURCE_LOCK computing)
# Of the program's sources check.tidy is the short form of check.tidy_paths. The shim's take two
# thirds of the time of that, the tests' as long as all others.
set_tests_properties(check.tidy_paths check.tidy_shim check.tidy_tests PROPERTIES LABELS "check;long")
