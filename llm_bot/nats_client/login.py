"""Who the daemon is to a NATS server: passwords, tokens, key files, certificates."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from nats.aio.client import RawCredentials

from llm_bot.config import NatsConfig
from llm_bot.errors import BusError


def login_options(config: NatsConfig) -> dict[str, Any]:
    """Who we are, for `Client.connect`. Files are read here: in a credentials file without a
    token nats-py looks for it for ever."""
    login: dict[str, Any] = {"user": config.user}
    if config.password is not None:
        login["password"] = config.password.get_secret_value()
    if config.token is not None:
        login["token"] = config.token.get_secret_value()
    if config.credentials_file is not None:
        text = Path(config.credentials_file).read_text(encoding="utf-8")
        if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
            raise BusError(f"{config.credentials_file} is not a NATS credentials file")
        login["user_credentials"] = RawCredentials(text)
    if config.nkey_seed_file is not None:
        login["nkeys_seed_str"] = Path(config.nkey_seed_file).read_text(encoding="utf-8")
    if (context := _tls_context(config)) is not None:
        login["tls"] = context
    return login


def _tls_context(config: NatsConfig) -> ssl.SSLContext | None:
    tls = config.tls
    if tls.ca_file is None and tls.cert_file is None:
        return None  # for tls:// addresses nats-py makes one that trusts the system's authorities
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context
