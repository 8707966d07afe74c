/* The shim's own process; see shim_proto.h.  Started by main(), never
 * returns. */

#ifndef AGENT_SHIM_MAIN_H
#define AGENT_SHIM_MAIN_H

/* Keeps a shim's children in the limits that the agent itself was given. */
void shim_main(const char *nofile) __attribute__((noreturn));

#endif
