# magnetctl: the command line; knows the mount's control files and nothing else of magnetfs.
add_library(ctl_core STATIC magnetctl_add.c magnetctl_show.c ctl_mount.c ctl_table.c)
target_include_directories(ctl_core PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(ctl_core PUBLIC PkgConfig::CJSON PRIVATE magnetfs_options)

add_executable(magnetctl magnetctl.c)
target_link_libraries(magnetctl PRIVATE magnetfs_options ctl_core)
install(TARGETS magnetctl DESTINATION ${CMAKE_INSTALL_BINDIR})
