/* The executors' texts, as the assembler puts them into the binary. */

#include "agent/interpreter.h"

#define SCRIPT(name, file)                                                   \
    __asm__(".section .rodata\n"                                             \
            ".global " #name ", " #name "_end\n"                             \
            #name ":\n"                                                      \
            ".incbin \"" file "\"\n"                                         \
            #name "_end:\n"                                                  \
            ".byte 0\n"                                                      \
            ".previous\n")

SCRIPT(interpreter_python, "agent/executors/python.py");
SCRIPT(interpreter_python_rich, "agent/executors/python_rich.py");
SCRIPT(interpreter_javascript, "agent/executors/javascript.js");
SCRIPT(interpreter_seed, "seed.so");
