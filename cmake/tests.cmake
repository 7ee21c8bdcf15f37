# Tests, found by folder:
#   src/<room>/*_test.cc   one executable <room>_test per room        label unit
#   tests/*_test.cc        one executable per file, all rooms linked  label system
#   tests/*.sh, *.py       run as they are                            label script
#   tests/slow/*           the same kinds                             label slow (not run by default)
#   tests/support/*.cc     linked to every system test

set(REJOIN_TEST_TIMEOUT 900 CACHE STRING "Seconds that a test may take")
set(REJOIN_SLOW_TIMEOUT 7200)
set(REJOIN_RESULTS "${CMAKE_BINARY_DIR}/results")
file(MAKE_DIRECTORY "${REJOIN_RESULTS}")

set(test_environment
  "REJOIN_BIN=${REJOIN_DIST}/rejoin"
  "REJOIN_SO=${REJOIN_DIST}/rejoin.so"
  "REJOIN_DIST=${REJOIN_DIST}"
  "REJOIN_SOURCE_DIR=${CMAKE_CURRENT_SOURCE_DIR}"
  "REJOIN_NODE_MODULES=${CMAKE_CURRENT_SOURCE_DIR}/build/interop/node_modules"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "TSAN_OPTIONS=halt_on_error=1")

# Code that protoc generates from the contract, for interop checks in tests only: #include "rejoin.pb.h".
find_program(REJOIN_PROTOC protoc)
find_library(REJOIN_LIB_protobuf protobuf)
set(REJOIN_TEST_LIBRARIES dep_gtest_main dep_rapidcheck)
if(REJOIN_PROTOC AND REJOIN_LIB_protobuf AND EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/proto/rejoin.proto")
  set(gen "${CMAKE_BINARY_DIR}/generated")
  file(MAKE_DIRECTORY "${gen}")
  add_custom_command(
    OUTPUT "${gen}/rejoin.pb.cc" "${gen}/rejoin.pb.h"
    COMMAND "${REJOIN_PROTOC}" --cpp_out=${gen} -I "${CMAKE_CURRENT_SOURCE_DIR}/proto" rejoin.proto
    DEPENDS proto/rejoin.proto
    COMMENT "Generating test code from proto/rejoin.proto")
  add_library(rejoin_proto_test STATIC EXCLUDE_FROM_ALL "${gen}/rejoin.pb.cc" "${gen}/rejoin.pb.h")
  target_include_directories(rejoin_proto_test SYSTEM PUBLIC "${gen}")
  target_link_libraries(rejoin_proto_test PUBLIC "${REJOIN_LIB_protobuf}" Threads::Threads)
  target_compile_options(rejoin_proto_test PRIVATE -w)
  list(APPEND REJOIN_TEST_LIBRARIES rejoin_proto_test)
endif()

set(all_rooms ${REJOIN_ROOMS})
list(REMOVE_ITEM all_rooms extension)
list(TRANSFORM all_rooms PREPEND rejoin_)

find_program(REJOIN_LLD ld.lld)

# Sanitized, each of 80 executables would be 110 MB long and take a second to link: there the rooms are linked once.
if(REJOIN_UNITY AND REJOIN_SANITIZE)
  add_library(rejoin_rooms SHARED)
  set_target_properties(rejoin_rooms PROPERTIES LINKER_LANGUAGE CXX
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/test_bin")
  foreach(room IN LISTS all_rooms)
    get_target_property(type ${room} TYPE)
    if(type STREQUAL "STATIC_LIBRARY")
      target_sources(rejoin_rooms PRIVATE $<TARGET_OBJECTS:${room}>)
    endif()
    foreach(what INCLUDE_DIRECTORIES COMPILE_DEFINITIONS)
      set_property(TARGET rejoin_rooms APPEND PROPERTY INTERFACE_${what} $<TARGET_PROPERTY:${room},INTERFACE_${what}>)
    endforeach()
  endforeach()
  # Debian's is position-independent only while nobody else sees its functions.
  target_link_options(rejoin_rooms PRIVATE -Wl,--exclude-libs,libzstd.a)
  foreach(room IN LISTS REJOIN_ROOMS)
    target_link_libraries(rejoin_rooms PUBLIC ${REJOIN_DEPS_${room}})
  endforeach()
  if(REJOIN_LLD)
    target_link_options(rejoin_rooms PRIVATE -fuse-ld=lld)
  endif()
  set(linked_rooms rejoin_rooms)
else()
  set(linked_rooms ${all_rooms})
endif()

# rejoin_test_executable(name label timeout sources... LIBRARIES libs...)
function(rejoin_test_executable name label timeout)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  rejoin_unity(${name})
  if(REJOIN_UNITY)
    # What is compiled, linked and run once. The libraries are what they always are.
    target_compile_options(${name} PRIVATE -O0)
    if(REJOIN_LLD)
      target_link_options(${name} PRIVATE -fuse-ld=lld)
    endif()
  endif()
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} ${REJOIN_TEST_LIBRARIES})
  target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_definitions(${name} PRIVATE
    REJOIN_DIST="${REJOIN_DIST}" REJOIN_SOURCE_DIR="${CMAKE_CURRENT_SOURCE_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/test_bin")
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${timeout}
    ENVIRONMENT "${test_environment};GTEST_OUTPUT=xml:${REJOIN_RESULTS}/${name}.xml")
endfunction()

foreach(room IN LISTS REJOIN_ROOMS)
  if(REJOIN_TESTS_${room})
    if(room STREQUAL "extension")
      set(library rejoin_base)
    else()
      set(library rejoin_${room})
    endif()
    rejoin_test_executable(${room}_test unit ${REJOIN_TEST_TIMEOUT} SOURCES ${REJOIN_TESTS_${room}} LIBRARIES ${library})
  endif()
endforeach()

file(GLOB support CONFIGURE_DEPENDS "tests/support/*.cc")
if(support)
  add_library(rejoin_test_support STATIC ${support})
  rejoin_unity(rejoin_test_support)
  target_include_directories(rejoin_test_support PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}")
  target_link_libraries(rejoin_test_support PUBLIC ${linked_rooms} dep_gtest dep_rapidcheck)
  target_compile_definitions(rejoin_test_support PRIVATE
    REJOIN_DIST="${REJOIN_DIST}" REJOIN_SOURCE_DIR="${CMAKE_CURRENT_SOURCE_DIR}")
  set(support rejoin_test_support)
  if(REJOIN_UNITY)
    # Read once for all system tests. Not elsewhere: there a source that lacks an #include must fail.
    target_compile_options(rejoin_test_support PRIVATE -O0)
    target_precompile_headers(rejoin_test_support PRIVATE <gtest/gtest.h> <filesystem> <fstream> <thread>
      "tests/support/model_run.h" "tests/support/postgres_loopback.h" "tests/support/sync_loopback.h")
  endif()
endif()

foreach(folder "tests" "tests/slow")
  if(folder STREQUAL "tests")
    set(label system)
    set(script_label script)
    set(timeout ${REJOIN_TEST_TIMEOUT})
  else()
    set(label slow)
    set(script_label slow)
    set(timeout ${REJOIN_SLOW_TIMEOUT})
  endif()
  file(GLOB files CONFIGURE_DEPENDS "${folder}/*_test.cc")
  foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME_WE)
    if(TARGET ${name})
      message(FATAL_ERROR "${file}: the name ${name} is taken by another test. Rename the file.")
    endif()
    rejoin_test_executable(${name} ${label} ${timeout} SOURCES ${file} LIBRARIES ${support} ${linked_rooms})
    if(REJOIN_UNITY)
      # As the library that the headers were read for: -fPIC, not -fPIE.
      set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${name} PRIVATE -fPIC)
      target_precompile_headers(${name} REUSE_FROM rejoin_test_support)
    endif()
    if(REJOIN_PRODUCTS)
      add_dependencies(${name} ${REJOIN_PRODUCTS})
    endif()
  endforeach()

  # Scripts load rejoin.so into processes that have no sanitizer runtime, so they belong to plain builds.
  if(NOT REJOIN_SANITIZE)
    file(GLOB scripts CONFIGURE_DEPENDS "${folder}/[a-z]*.sh" "${folder}/[a-z]*.py")
    foreach(file IN LISTS scripts)
      get_filename_component(name "${file}" NAME_WE)
      get_filename_component(suffix "${file}" LAST_EXT)
      if(suffix STREQUAL ".py")
        # Debian's python: others may lack extension loading in their sqlite3 module.
        add_test(NAME ${name} COMMAND /usr/bin/python3 "${file}" WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
      else()
        add_test(NAME ${name} COMMAND bash "${file}" WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
      endif()
      set_tests_properties(${name} PROPERTIES LABELS ${script_label} TIMEOUT ${timeout} ENVIRONMENT "${test_environment}")
    endforeach()
  endif()
endforeach()

# The longest of all in two processes, beside each other.
if(TEST convergence_model_test)
  add_test(NAME convergence_model_test_2 COMMAND convergence_model_test WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  set_tests_properties(convergence_model_test_2 PROPERTIES LABELS system TIMEOUT ${REJOIN_TEST_TIMEOUT} ENVIRONMENT
    "${test_environment};GTEST_OUTPUT=xml:${REJOIN_RESULTS}/convergence_model_test_2.xml;GTEST_TOTAL_SHARDS=2;GTEST_SHARD_INDEX=1")
  set_property(TEST convergence_model_test APPEND PROPERTY ENVIRONMENT "GTEST_TOTAL_SHARDS=2;GTEST_SHARD_INDEX=0")
endif()

# Every file operation fails once, and the allocations of every path of calls; interrupts come at each 13th step.
foreach(sweep file_faults_test:REJOIN_FAULT_STRIDE=1 out_of_memory_test:REJOIN_FAULT_PATHS=all
              interrupted_calls_test:REJOIN_FAULT_STRIDE=13)
  string(REGEX REPLACE ":.*" "" name ${sweep})
  string(REGEX REPLACE ".*:" "" which ${sweep})
  if(TEST ${name})
    add_test(NAME every_${name} COMMAND ${name} WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
    set_tests_properties(every_${name} PROPERTIES LABELS slow TIMEOUT 7200 ENVIRONMENT
      "${test_environment};GTEST_OUTPUT=xml:${REJOIN_RESULTS}/every_${name}.xml;${which}")
  endif()
endforeach()

# The longest begin first: whatever else there is fits beside them.
foreach(name convergence_model_test convergence_model_test_2 sim_test)
  if(TEST ${name})
    set_tests_properties(${name} PROPERTIES COST 1000)
  endif()
endforeach()

# The canaries make mistakes in the oracle or the capture; what they run of the engine is what the model tests run.
if(REJOIN_SANITIZE AND TEST sim_test)
  set_property(TEST sim_test APPEND PROPERTY ENVIRONMENT "GTEST_FILTER=-Canary.*_*")
endif()
if(REJOIN_SANITIZE AND TEST postgres_model_test)
  set_property(TEST postgres_model_test APPEND PROPERTY ENVIRONMENT "GTEST_FILTER=-*.Mistakes*"
    "REJOIN_POSTGRES_SCRIPTS=20")
endif()
