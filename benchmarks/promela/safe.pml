/* The safe policy on one endpoint, in the explorer's own steps: one step a call of a port. State for state the same
 * space as `evenkeel check --policy safe --endpoints 1` without its reductions: ENACTORS, PLANS and KEEP as defined on
 * spin's command line. Local variables that no longer matter are set to 0, as the explorer forgets them.
 *
 *   newest    what is the newest plan
 *   look      read fence, answer and rollback pointer; behind the plan or not
 *   build     the plan's tree
 *   flip      answer, rollback pointer and fence, on condition that the fence is the one that was read
 *   spent     trees older than the fence, but for the newest KEEP of them
 *   refers    does answer or rollback pointer lead to it; if not, read the fence
 *   remove    delete it, on condition that the fence is the one that was read
 */

#define NEWEST 0
#define LOOK 1
#define BUILD 2
#define FLIP 3
#define SPENT 4
#define REFERS 5
#define REMOVE 6
#define BIT(g) (1 << (g))
#define ALL (ENACTORS)
#define i (_pid - 1)      /* an Enactor's place in the arrays; the Planner has process number 0 */

byte store;               /* newest plan */
byte fence, rollback;     /* generations; 0: none. The answer is always the fence's generation */
short trees;              /* bit g: the tree of plan g stands */

byte pc[ALL], plan[ALL];
byte read_fence[ALL], read_rollback[ALL];
bit current[ALL];         /* the fence read is still the one that stands */
short spent[ALL];         /* trees still to be looked at */

byte k, g, n, oldest;

inline forget() { read_fence[i] = 0; read_rollback[i] = 0; current[i] = 0 }

inline take() {          /* what was read: a fence that is not there has no nonce that could go out of date */
    read_fence[i] = fence; read_rollback[i] = rollback;
    if :: fence > 0 -> current[i] = 1 :: else -> current[i] = 0 fi
}

inline next_spent() {    /* the first of the list is done with */
    spent[i] = spent[i] & ~BIT(oldest);
    if :: spent[i] == 0 -> pc[i] = NEWEST :: else -> pc[i] = REFERS fi
}

inline find_oldest() {
    oldest = 1;
    do :: (spent[i] & BIT(oldest)) == 0 -> oldest++ :: else -> break od
}

active proctype planner() {
    do :: d_step { store < PLANS -> store++ } od
}

active [ENACTORS] proctype enactor() {
    do
    :: d_step { pc[i] == NEWEST && store > 0 -> plan[i] = store; pc[i] = LOOK }
    :: d_step { pc[i] == NEWEST && store == 0 -> pc[i] = SPENT }
    :: d_step { pc[i] == LOOK && fence < plan[i] -> take(); pc[i] = BUILD }
    :: d_step { pc[i] == LOOK && fence >= plan[i] -> plan[i] = 0; pc[i] = SPENT }
    :: d_step { pc[i] == LOOK && fence >= plan[i] -> plan[i] = 0; pc[i] = NEWEST }
    :: d_step { pc[i] == BUILD -> trees = trees | BIT(plan[i]); pc[i] = FLIP }
    :: d_step { /* published; clean-up comes next, or a newer plan */
           pc[i] == FLIP && (current[i] || (read_fence[i] == 0 && fence == 0)) && (trees & BIT(plan[i])) != 0 ->
           assert(plan[i] > fence);
           if :: fence > 0 -> rollback = fence :: else -> skip fi;
           fence = plan[i];
           k = 0; do :: k < ALL -> current[k] = 0; k++ :: else -> break od;
           k = 0;
           forget(); plan[i] = 0; pc[i] = SPENT
       }
    :: d_step {
           pc[i] == FLIP && (current[i] || (read_fence[i] == 0 && fence == 0)) && (trees & BIT(plan[i])) != 0 ->
           if :: fence > 0 -> rollback = fence :: else -> skip fi;
           fence = plan[i];
           k = 0; do :: k < ALL -> current[k] = 0; k++ :: else -> break od;
           k = 0;
           forget(); plan[i] = 0; pc[i] = NEWEST
       }
    :: d_step {
           pc[i] == FLIP && !((current[i] || (read_fence[i] == 0 && fence == 0)) && (trees & BIT(plan[i])) != 0) ->
           forget(); plan[i] = 0; pc[i] = NEWEST
       }
    :: d_step {
           pc[i] == SPENT ->
           spent[i] = trees & (BIT(fence) - 1);
           g = PLANS; n = 0;     /* the newest KEEP of them stay */
           do
           :: g > 0 && (spent[i] & BIT(g)) != 0 && n < KEEP -> spent[i] = spent[i] & ~BIT(g); n++; g--
           :: g > 0 && !((spent[i] & BIT(g)) != 0 && n < KEEP) -> g--
           :: else -> break
           od;
           if :: spent[i] == 0 -> pc[i] = NEWEST :: else -> pc[i] = REFERS fi;
           g = 0; n = 0
       }
    :: d_step {
           pc[i] == REFERS -> find_oldest();
           if :: oldest == fence || oldest == rollback -> next_spent() :: else -> take(); pc[i] = REMOVE fi;
           oldest = 0
       }
    :: d_step {
           pc[i] == REMOVE -> find_oldest();
           if
           :: current[i] && read_rollback[i] == rollback ->
              trees = trees & ~BIT(oldest);
              assert((trees & BIT(fence)) != 0 && (rollback == 0 || (trees & BIT(rollback)) != 0))
           :: else -> skip
           fi;
           forget(); next_spent(); oldest = 0
       }
    od
}
