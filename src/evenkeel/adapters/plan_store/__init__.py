"""The plan store for real.

| module | what |
| --- | --- |
| `wire` | the conversation's frames, compact |
| `sqlite` | the store on disk |
| `service` | the store over frames, with push to its followers |
| `client` | `PlanFollower` for readers, `PlanStoreClient` for Planners and levers |
| `last_good` | a follower's copy of the last good plan on disk |

`client`, `wire` and `last_good` import neither sqlite3 nor numpy.
"""
