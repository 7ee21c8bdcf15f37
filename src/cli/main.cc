#include "cli/command.h"

int main(int argc, char** argv) { return rejoin::cli::run(argc, argv); }
