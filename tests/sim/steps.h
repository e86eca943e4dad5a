/* steps.h - what ops.c and acts.c know of each other. */
#ifndef ROPEFS_TESTS_SIM_STEPS_H
#define ROPEFS_TESTS_SIM_STEPS_H

#include "tests/sim/world.h"

/* --- ops.c --- */
void step_change(struct world *w); /* a step that is a change */

/* --- acts.c --- */
/* An error must come of a fault, and be one that programs understand. */
void step_expect(struct world *w, int r);
void step_faults_end(struct world *w);
void act_sync(struct world *w);
void act_push(struct world *w);
void act_checkpoint(struct world *w);
void act_collect(struct world *w);
void act_compare(struct world *w);
void act_kill(struct world *w);
void act_close(struct world *w);
void act_fault(struct world *w);
void act_together(struct world *w);
void act_upload(struct world *w);
void act_read_badly(struct world *w);

#endif
