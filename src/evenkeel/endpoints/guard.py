"""Never empty: the rule that every commit passes, whoever asks for it (DESIGN.md).

There is no number of records below which it is off: small zones are the very shape of the incident.
"""

from __future__ import annotations

from evenkeel.endpoints.layout import Standing
from evenkeel.model.plan import Answer
from evenkeel.model.policy import DnsPolicy, EmptyAnswer


def why_unsafe(policy: DnsPolicy, standing: Standing, answer: Answer, *, restores: bool = False) -> str:
    """The reason why `answer` must not replace what stands; "" where it may.

    Counts addresses of both families. What stands empty may be filled with anything. `restores`: what stands is not
    what was published (drift, a repair, an operator's rollback), so its size is no measure: no share.
    """
    if policy.empty_answer is EmptyAnswer.ALLOWED:
        return ""
    before, after = standing.size, answer.size
    if after == 0:
        return "it would leave the endpoint without an answer"
    for family, old, new in (("A", standing.a, answer.a), ("AAAA", standing.aaaa, answer.aaaa)):
        if old and not new and before == len(old):
            return f"it would leave the endpoint without its {family} answer"
    if after < min(policy.addresses_min, before):
        return f"it would leave {after} addresses, the floor is {policy.addresses_min}"
    dropped_max = policy.removed_share_max * before
    if before - after > dropped_max and not restores:
        return (
            f"it would drop {before - after} of {before} addresses at once, at most {int(dropped_max)} may go; "
            "raise [policy] removed-share-max for as long as this is meant"
        )
    return ""
