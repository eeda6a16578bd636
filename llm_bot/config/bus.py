"""The connection: where events come from and how to log in there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from llm_bot.config.fields import (
    URI,
    Name,
    NatsUrl,
    Secret,
    Section,
    Timeout,
    mismatch,
    split_url,
)
from llm_bot.config.secret_files import FilePath, KeyFile, SecretFile, SectionWithFiles
from llm_bot.models import Dialect

# A shorter line of a key file gives no access.
_MIN_KEY_CHARACTERS = 20


class TlsConfig(Section):
    """Certificates for an encrypted connection; with a tls:// address none may be needed."""

    ca_file: FilePath | None = Field(
        None, description="Certificates of the authority to trust, PEM; null: the system's."
    )
    cert_file: FilePath | None = Field(
        None, description="The bot's own certificate, PEM, where the server asks for one."
    )
    key_file: FilePath | None = Field(
        None, validate_default=True, description="Private key of cert_file, PEM."
    )

    @field_validator("key_file")
    @classmethod
    def _pair(cls, key_file: str | None, info: ValidationInfo) -> str | None:
        if "cert_file" in info.data and (info.data["cert_file"] is None) != (key_file is None):
            raise mismatch("cert_file and key_file need each other", "set both, or neither")
        return key_file


class NatsConfig(SectionWithFiles):
    """Where the events come from and how to log in there."""

    servers: Annotated[tuple[NatsUrl, ...], Field(strict=False, min_length=1, max_length=50)] = (
        Field(repr=False, description="Addresses of one cluster, tried in turn.")
    )
    user: Name | None = Field(None, description="User name, with password.")
    password: Secret | None = Field(None, description="Password of user.")
    password_file: SecretFile | None = Field(
        None, validate_default=True, description="File that holds the password, instead of it."
    )
    token: Secret | None = Field(None, description="Token, where the server wants one alone.")
    token_file: SecretFile | None = Field(
        None, description="File that holds the token, instead of it."
    )
    credentials_file: KeyFile | None = Field(
        None, description="A .creds file, as made for NATS accounts."
    )
    nkey_seed_file: KeyFile | None = Field(
        None, validate_default=True, description="File that holds the seed of an NKey."
    )
    tls: TlsConfig = Field(default_factory=TlsConfig, description="Certificates.")
    connect_timeout: Timeout = Field(5.0, description="Longest time for one try to connect.")
    max_reconnect_attempts: Annotated[int, Field(ge=0, le=100_000)] = Field(
        5, description="Tries at the start; 0: for ever. Once connected it always reconnects."
    )
    dialect: Literal["auto", "kryten", "early", "plain"] = Field(
        "auto", description="Which subjects the connector speaks; auto hears all three."
    )
    outbound_buffer_size: Annotated[int, Field(ge=0, le=10_000)] = Field(
        100, description="Replies kept while the server is away; more are dropped."
    )
    request_timeout: Timeout = Field(2.0, description="Longest wait for the connector's answer.")

    # Kept to be blacked out, never to be sent.
    _key_material: tuple[SecretStr, ...] = PrivateAttr(())

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The dialects to listen to."""
        return tuple(Dialect) if self.dialect == "auto" else (Dialect(self.dialect),)

    @property
    def key_material(self) -> tuple[SecretStr, ...]:
        """The secrets in credentials_file and nkey_seed_file."""
        return self._key_material

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        if context is not None:
            files = [self.credentials_file, self.nkey_seed_file]
            lines = [line for file in files if file for line in context.secret(file).split()]
            self._key_material = tuple(
                SecretStr(line)
                for line in lines
                if len(line) >= _MIN_KEY_CHARACTERS and not line.startswith(("-", "*"))
            )

    @field_validator("password_file")
    @classmethod
    def _has_user(cls, file: str | None, info: ValidationInfo) -> str | None:
        is_given = file is not None or info.data.get("password") is not None
        if is_given and info.data.get("user", "") is None:
            raise mismatch("missing required key, as there is a password", field="user")
        return file

    @field_validator("nkey_seed_file")
    @classmethod
    def _one_login(cls, seed_file: str | None, info: ValidationInfo) -> str | None:
        ways = {
            "user": info.data.get("user"),
            "token": info.data.get("token") or info.data.get("token_file"),
            "credentials_file": info.data.get("credentials_file"),
            "nkey_seed_file": seed_file,
        }
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            ways_in = " and ".join(given)
            raise mismatch(f"{ways_in} are set, use one way to log in", field=given[-1])
        return seed_file


def _redis_url(url: str) -> str:
    if "@" in url or "?" in url or "#" in url:
        raise mismatch(
            "must be a URL without a user, a ? or a #", "credentials belong into user and password"
        )
    parts = split_url(url)
    if parts is None or parts.scheme not in {"redis", "rediss"} or parts.path.strip("/"):
        raise mismatch("must be a URL such as redis://localhost:6379 (redis or rediss)")
    return url


class BusConfig(Section):
    """What carries events and replies."""

    type: Literal["nats", "redis", "memory"] = Field(
        "nats", description="nats is the one that a CyTube connector speaks."
    )
    url: Annotated[
        str,
        Field(max_length=2000, json_schema_extra=URI),
        AfterValidator(_redis_url),
    ] = Field(
        "redis://localhost:6379",
        repr=False,
        description="Address of Redis, for type redis; rediss:// is encrypted.",
    )
    user: Name | None = Field(None, description="User name on Redis; null: its default user.")
    password: Secret | None = Field(
        None, validate_default=True, description="Password on Redis, where it wants one."
    )

    @field_validator("password")
    @classmethod
    def _login(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if password is None and info.data.get("user") is not None:
            raise mismatch("missing required key, as there is a user")
        return password
