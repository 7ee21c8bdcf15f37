# Compiler flags. Everything is compiled as position-independent code with hidden symbols: the same objects go into
# executables and into rejoin.so, and hidden symbols keep calls inside the module direct.

option(REJOIN_WERROR "Turn warnings into errors (GCC only; CI sets it)" OFF)
option(REJOIN_LTO "Link-time optimisation in Release builds (slower builds, for measuring)" OFF)
option(REJOIN_UNITY "Compile several sources of a room at once: a cold build takes half the time (CI sets it)" OFF)
option(REJOIN_FUZZ "The libFuzzer targets too (needs clang)" OFF)
set(REJOIN_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1 -D_GLIBCXX_ASSERTIONS")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g1")

add_compile_options(-ffunction-sections -fdata-sections)
add_link_options(-Wl,--gc-sections)
add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports these falsely inside the standard library and Boost when it inlines.
  add_compile_options(-Wno-restrict)
  if(REJOIN_WERROR)
    add_compile_options(-Werror -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=stringop-overread
                        -Wno-error=array-bounds -Wno-error=free-nonheap-object -Wno-error=deprecated-declarations)
  endif()
endif()

if(REJOIN_SANITIZE)
  # -O1: unoptimised sanitized code is several times slower and the reports are no better.
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -D_GLIBCXX_ASSERTIONS")
  add_compile_options(-fsanitize=${REJOIN_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${REJOIN_SANITIZE})
  if(REJOIN_UNITY)
    # What tests use of the rooms is in a shared library then (tests.cmake).
    set(CMAKE_CXX_VISIBILITY_PRESET default)
    set(CMAKE_VISIBILITY_INLINES_HIDDEN OFF)
  endif()
  if(REJOIN_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=all)
  endif()
endif()
if(REJOIN_FUZZ AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "REJOIN_FUZZ needs clang. Use: cmake --preset asan")
endif()

if(REJOIN_LTO)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()

find_program(REJOIN_CCACHE ccache)
if(REJOIN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER "${REJOIN_CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${REJOIN_CCACHE}")
endif()
