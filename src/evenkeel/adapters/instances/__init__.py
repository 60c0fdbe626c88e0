"""Instances on a host: each one a workload under a keeper that ends it when the host's lease does.

The folder of a host, `<state_dir>/fleet/<host>`:

| path | written by | what |
| --- | --- | --- |
| `lease` | agent | until when the host's lease lasts, in seconds of CLOCK_BOOTTIME |
| `<instance>/lock` | keeper | held (flock) for as long as the keeper lives: no instance runs twice |
| `<instance>/spec.json` | agent | what to run |
| `<instance>/running.json` | keeper | pids and the address at which the workload answers |
| `<instance>/workload.log` | workload | what it prints, bounded at each start |

A keeper needs nobody's help to fence: it reads `lease` and kills its workload when that is over, also where the agent
was killed, hangs, or never comes back. An agent that starts again finds its instances by these files.
"""
