"""Operations of the management API, called by pages in this process: the same models validate what
they are sent, the same rights are asked for, the same handlers answer."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from backend.access import Principal
from backend.operations import Call, Operation
from backend.requests import Content, validated
from backend.services import Services

Name = tuple[str, str]
"""An operation: its method and its path, as the API declares them."""
Answer = TypeVar("Answer", bound=BaseModel)


class Api:
    """The operations that one page uses, as one principal."""

    def __init__(
        self,
        services: Services,
        principal: Principal,
        operations: Mapping[Name, Operation],
    ) -> None:
        self._services = services
        self._principal = principal
        self._operations = operations

    def may(self, method: str, path: str) -> bool:
        """Whether the principal has the right that an operation needs."""
        right = self._operations[method, path].right
        return right is None or self._principal.has(right)

    def require(self, method: str, path: str) -> None:
        """Raises Rejected unless the principal has the right that an operation needs."""
        right = self._operations[method, path].right
        if right is not None:
            self._services.access.require(self._principal, right)

    async def ask(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        *,
        at: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The answer of an operation, which is an ``answer``; ``at`` are the parameters of its
        path. Raises Rejected, and LookupError for an operation that the page does not declare."""
        found = await self.call(method, path, at=at, query=query, body=body)
        if not isinstance(found, answer):
            raise TypeError(f"{method} {path} answers {type(found).__name__}")
        return found

    async def call(
        self,
        method: str,
        path: str,
        *,
        at: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: Content | None = None,
    ) -> BaseModel | Response | None:
        """As ``ask``, for an operation that answers nothing, or with a response of its own.
        ``content`` is for one that takes the bytes of a file."""
        self.require(method, path)
        operation = self._operations[method, path]
        call = Call(
            services=self._services,
            principal=self._principal,
            path=at or {},
            body=validated(operation.body, body or {}) if operation.body else None,
            query=validated(operation.query, query or {}) if operation.query else None,
            content=content,
        )
        return await operation.handler(call)


def operations_of(names: Iterable[Name], operations: Iterable[Operation]) -> dict[Name, Operation]:
    """The operations of these names. Raises LookupError if there is none of one."""
    known = {(operation.method, operation.path): operation for operation in operations}
    return {name: known[name] for name in names}
