/* The executors' texts, as the assembler puts them into the binary. */

#include "agent/interpreter.h"

#define SCRIPT(name, file)                                                   \
    __asm__(".section .rodata\n"                                             \
            ".global " #name "\n"                                            \
            #name ":\n"                                                      \
            ".incbin \"agent/executors/" file "\"\n"                         \
            ".byte 0\n"                                                      \
            ".previous\n")

SCRIPT(interpreter_python, "python.py");
SCRIPT(interpreter_python_rich, "python_rich.py");
SCRIPT(interpreter_javascript, "javascript.js");
