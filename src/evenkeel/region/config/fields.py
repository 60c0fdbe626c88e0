"""The types of values in region.toml, each with its check and its JSON schema; and what every table shares."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from evenkeel.model.region import HostPort
from evenkeel.region.config import texts
from evenkeel.region.config.limits import DAY_S

T = TypeVar("T")


class Family(StrEnum):
    IPV4 = "ipv4"
    IPV6 = "ipv6"


def _door(parse: Callable[[object], T]) -> Callable[[Any], T]:
    def validate(value: Any) -> T:
        try:
            return parse(value)
        except texts.BadText as error:
            raise PydanticCustomError("text", "{what}", {"what": error.what, "mend": error.mend}) from error

    return validate


def _text(pattern: str = "", **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **({"pattern": f"^{pattern}$"} if pattern else {}), **more})


Label = Annotated[str, PlainValidator(_door(texts.label)), _text(texts.LABEL_FORM)]
KeyName = Annotated[str, PlainValidator(_door(texts.key_name)), _text(texts.KEY_NAME_FORM)]
DomainName = Annotated[str, PlainValidator(_door(texts.domain_name)), _text(examples=["db.demo.example"])]
IPv4 = Annotated[str, PlainValidator(_door(texts.ipv4_address)), _text(format="ipv4")]
IPv6 = Annotated[str, PlainValidator(_door(texts.ipv6_address)), _text(format="ipv6")]
Host = Annotated[str, PlainValidator(_door(texts.host)), _text(examples=["127.0.0.1"])]
Listener = Annotated[HostPort, PlainValidator(_door(texts.host_port)), _text(examples=["127.0.0.1:5310"])]
ZoneServer = Annotated[HostPort, PlainValidator(_door(texts.zone_server)), _text(examples=["192.0.2.53:53"])]
HttpPath = Annotated[str, PlainValidator(_door(texts.http_path)), _text("/.*")]
HttpHost = Annotated[str, PlainValidator(_door(texts.http_host)), _text(examples=["db.demo.example"])]

Port = Annotated[int, Field(ge=1, le=texts.PORT_MAX)]
Seconds = Annotated[float, Field(gt=0, le=DAY_S)]
TtlSeconds = Annotated[int, Field(ge=0, le=DAY_S)]
Share = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(gt=0, le=1e15)]

# Texts are taken for enum members by value; elsewhere types are strict.
ByValue = Strict(False)


def kebab(attribute: str) -> str:
    return attribute.replace("_", "-")


class Table(BaseModel):
    """What every table shares."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=kebab,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    # Where a key that has to be there is at fault: what to read the rest of the table with.
    stand_ins: ClassVar[dict[str, Any]] = {}
