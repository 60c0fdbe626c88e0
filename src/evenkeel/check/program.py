"""What an Enactor does in one cycle, as a list of stages: each stage is one run of a real workflow.

The list is the order in which an Enactor's driver runs the workflows over its endpoints: publish each, then clean up
behind each. What a stage has read is forgotten at its end (every workflow looks before it writes), and so is its
result but for two words: whether the cycle goes on, and whether the endpoint was contended, so that it is tried again.
Between publishing and clean-up a safe Enactor may be called back to a newer plan; October 2025's may not. That order
is the only thing about an Enactor that is written here rather than run.

The driver of safe Enactors runs many endpoints of a cycle at once, and cleans up some beside looks at others. One
after the other has the same interleavings as far as one endpoint's properties go: what others do to an endpoint between
two steps here includes all that the same Enactor's work on other endpoints could do to it, which is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from evenkeel.check.automaton import Automaton, replies_of
from evenkeel.check.exchange import NODE, PLAN
from evenkeel.check.replay import Call, Ports, Raised, Returned, WorkflowFailed
from evenkeel.endpoints.cleanup import remove_node
from evenkeel.endpoints.enactor import Enacted, begin_run, enact_endpoint, enact_locked
from evenkeel.model.errors import EvenkeelError
from evenkeel.model.policy import CleanUpBy, DnsPolicy
from evenkeel.ports.zone import AutomatedZone

EnactWorkflow = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Workflows:
    """The workflows that an Enactor is made of. Others may be put in their place, to see them fail."""

    enact: EnactWorkflow = enact_endpoint
    begin: EnactWorkflow = begin_run
    enact_locked: EnactWorkflow = enact_locked
    remove: EnactWorkflow = remove_node


@dataclass(frozen=True, slots=True)
class Stage:
    """One workflow of the cycle. `endpoint` is an index; -1 where the stage is about all of them.

    `must_return`: the cycle goes on only where the workflow returned something. `each_node`: run for each of the
    nodes that the stage before returned. `drops_plan`: nothing later in the cycle looks into the plan in hand.
    `may_restart`: the cycle may begin anew after it. `retries`: run again where the endpoint was contended.
    """

    name: str
    endpoint: int
    automaton: Automaton
    must_return: bool = False
    each_node: bool = False
    drops_plan: bool = False
    may_restart: bool = False
    retries: bool = False


def endpoint_name(index: int) -> str:
    return f"endpoint-{index + 1}"


def stages_of(policy: DnsPolicy, endpoints: int, workflows: Workflows) -> tuple[Stage, ...]:
    """An Enactor's cycle under `policy`."""
    names = [endpoint_name(index) for index in range(endpoints)]
    publish = _safe(policy, names, workflows) if policy.fenced else _october(policy, names, workflows)
    return (*publish, *_clean_up(policy, names, workflows))


def _safe(policy: DnsPolicy, names: Sequence[str], workflows: Workflows) -> list[Stage]:
    keeps_plan = policy.clean_up is not CleanUpBy.REACHABILITY

    def enacting(name: str) -> Automaton:
        return _enacting(lambda ports: workflows.enact(name, ports.plans, ports.zone, policy))

    return [
        Stage(
            "enact",
            index,
            enacting(name),
            drops_plan=not keeps_plan or index + 1 < len(names),
            may_restart=index + 1 == len(names),
        )
        for index, name in enumerate(names)
    ]


def _october(policy: DnsPolicy, names: Sequence[str], workflows: Workflows) -> list[Stage]:
    begin = Automaton(lambda ports: workflows.begin(names, ports.plans, ports.zone), _replies)

    def walking(name: str) -> Automaton:
        return _enacting(lambda ports: workflows.enact_locked(name, PLAN, ports.zone, policy, ports.clock))

    walk = [
        Stage(
            "walk",
            index,
            walking(name),
            retries=True,
            drops_plan=policy.clean_up is CleanUpBy.REACHABILITY and index + 1 == len(names),
        )
        for index, name in enumerate(names)
    ]
    return [Stage("begin", -1, begin, must_return=True), *walk]


def _clean_up(policy: DnsPolicy, names: Sequence[str], workflows: Workflows) -> list[Stage]:
    def spending(name: str) -> Automaton:
        return Automaton(lambda ports: _spent_nodes(ports, name))

    def removing(name: str) -> Automaton:
        return Automaton(lambda ports: workflows.remove(name, NODE, ports.zone, policy), _replies, lambda result: None)

    stages = []
    for index, name in enumerate(names):
        stages += [Stage("spent", index, spending(name)), Stage("remove", index, removing(name), each_node=True)]
    return stages


async def _spent_nodes(ports: Ports, name: str) -> Any:
    return await ports.zone.spent_nodes(name, PLAN)


def _enacting(workflow: Callable[[Ports], Coroutine[Any, Any, Any]]) -> Automaton:
    return Automaton(workflow, _replies, lambda result: Enacted.CONTENDED if result is Enacted.CONTENDED else None)


_ZONE_REPLIES = replies_of(AutomatedZone)


def _replies(call: Call) -> Sequence[Any] | None:
    if call.port == "plans":
        return (None, PLAN)
    if call.port == "clock":
        return (None,)
    return _ZONE_REPLIES(call.method)


def runs_of(stages: Sequence[Stage]) -> int:
    """Histories that were run so far."""
    return sum(stage.automaton.runs for stage in stages)


def is_over(stage: Stage, at: int) -> bool:
    return not isinstance(stage.automaton.pending(at), Call)


def result_of(stage: Stage, at: int) -> Any:
    """What the stage returned; None where it ended by an error of its ports. Raises `WorkflowFailed` for any other."""
    pending = stage.automaton.pending(at)
    if isinstance(pending, Raised) and not isinstance(pending.error, EvenkeelError):
        raise WorkflowFailed(f"{stage.name} of {endpoint_name(stage.endpoint)}: {pending.error!r}") from pending.error
    return pending.result if isinstance(pending, Returned) else None
