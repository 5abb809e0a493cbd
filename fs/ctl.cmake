# magnetctl: the command line; knows the mount's control files and nothing else of magnetfs. All of
# it is in ctl*.[ch].
add_library(ctl_core STATIC
        ctl_add.c ctl_change.c ctl_file.c ctl_json.c ctl_message.c ctl_mount.c ctl_mountinfo.c ctl_options.c ctl_print.c
        ctl_rows.c ctl_show.c ctl_suggest.c ctl_table.c ctl_table_status.c ctl_text.c ctl_torrents.c ctl_wait.c ctl_watchdog.c)
target_include_directories(ctl_core PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(ctl_core PUBLIC fs_buffer PkgConfig::CJSON PRIVATE magnetfs_options)

add_executable(magnetctl ctl_main.c)
target_link_libraries(magnetctl PRIVATE magnetfs_options ctl_core)
install(TARGETS magnetctl DESTINATION ${CMAKE_INSTALL_BINDIR})
