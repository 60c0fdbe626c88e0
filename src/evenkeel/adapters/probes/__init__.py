"""Probes against real load balancers.

| module | what |
| --- | --- |
| `schedule` | when each target is due: pure, without drift |
| `http_reply` | the head of an HTTP/1.x reply: pure, bounded |
| `exchange` | one TCP, HTTP or HTTPS probe on a socket that never blocks |
| `reported` | load balancers that report themselves |
| `loop_watch` | how long this process was not looking |
| `prober` | drives all of it on one event loop |
"""
