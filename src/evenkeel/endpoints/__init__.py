"""The DNS automation: Planner, Enactors, clean-up, audit and the operators' levers; pure, over typed ports."""
