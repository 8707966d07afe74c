/*
 * How fast the processor's time stamp counter goes, by the host's clock.  An
 * emulated machine reads the same counter, and has nothing to compare it with.
 */

#ifndef SANDBOXD_TSC_H
#define SANDBOXD_TSC_H

/* Before the first tsc_khz(), best long before: takes the first reading. */
void tsc_begin(void);
/* 1 to UINT_MAX kHz, from any thread; 0: this kind of processor has none that
 * is known here, or this host's kernel doesn't trust it.  Blocks until 50 ms
 * after tsc_begin().  Some time after that, it is the same as long as it is
 * trusted. */
unsigned tsc_khz(void);

#endif
