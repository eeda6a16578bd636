"""What docs/CONFIGURATION.md says beside what the models themselves say.

`NOTES` adds to single keys what goes wrong with a bad value, or how to choose one; a test holds
its paths to the models. `INTRODUCTIONS` stand below the headings; their examples pass the loader.
"""

from __future__ import annotations

from collections.abc import Mapping

NOTES: Mapping[str, str] = {
    "nats.max_reconnect_attempts": "Counts for every `bus.type`.",
    "nats.dialect": "A wrong one means that the bot hears nothing.",
    "nats.outbound_buffer_size": "Those whose deadline passes meanwhile aren't sent.",
    "nats.request_timeout": "Too short: lines that were said count as `unknown` or `unconfirmed`.",
    "nats.credentials_file": "One of the four ways to log in; two at once are an error.",
    "instance": "Two bots on one NATS need two names.",
    "channels[].silenced": "Good for a first evening: `llm-bot why` tells what would have been.",
    "channels[].enabled": "What was decided there before stays in the counters.",
    "channels[].domain": "Another one makes it another room, which begins anew.",
    "bot.username": "With a wrong one it knows neither its own lines nor when it is spoken to.",
    "bot.max_event_age_seconds": (
        "Too small where the clocks of the machines differ: no answers at all."
    ),
    "llm_api.base_url": (
        "Local servers: `http://localhost:11434/v1` (ollama), `http://localhost:1234/v1`"
        " (lmstudio)."
    ),
    "llm_api.api_key": "Has to be given for `openai`, here or in `api_key_file`.",
    "llm_api.model": "`llm-bot models` lists what there is.",
    "llm_api.provider": (
        "`openai` is right for every server that speaks like it; see"
        " [model servers](MODEL_SERVERS.md)."
    ),
    "llm_api.max_concurrent_requests": "A local model rarely profits from more than 1.",
    "llm_api.extra_headers": (
        "Values count as secrets where the name tells (`auth`, `key`, `token`, `secret`, `cookie`,"
        " `password`)."
    ),
    "llm_api.parameters.max_tokens": (
        "Too small cuts answers off; a model that thinks first needs 1000 or more."
    ),
    "llm_api.parameters.temperature": "Above 1.2 or so it loses the thread.",
    "llm_api.max_context_messages": "More cost more and make it slower.",
    "triggers[].rate_limit": "Those of `rate_limits` hold as well.",
    "triggers[].match": "With `substring`, `art` fires on `party`.",
    "triggers[].evaluation_interval_seconds": "A fifth earlier or later by chance, at least 5.",
    "rate_limits.max_per_channel_per_minute": "To keep it quiet in a room use `silenced`.",
    "replies.queue_size": "Too many make all of them late.",
    "replies.min_interval_seconds": "Too short: the chat server takes it for flooding.",
    "response_processing.server_max_length": "CyTube's is 320 unless its operator changed it.",
    "response_processing.content_filter.block_patterns": (
        "Quote them with `'`; one that takes longer than 50 ms refuses the reply."
    ),
    "response_processing.min_relevance": (
        "Watch `llm_bot_response_relevance_score` for some evenings first."
    ),
    "insights.publish": "See [what is published](API.md#what-the-bot-publishes).",
    "health.port": "A taken one ends the start with exit code 3.",
    "health.token": "`/health`, `/ready` and `/metrics` never ask for it.",
    "log_level": "With `--log-level` on the command line that one holds, over reloads too.",
    "dry_run": "With `--dry-run` on the command line that holds, over reloads too.",
    "shutdown_grace_seconds": "Whatever kills the process must wait some seconds longer.",
    "logging.format": "At the change the next line is written so.",
}

TOP = """\
# Configuration

Every key of `config.yaml`. [config.example.yaml](../config.example.yaml) is a file with all of
them to start from; `llm-bot check --config config.yaml` names every error with its line;
`llm-bot schema` prints a JSON Schema with which an editor completes and checks the file. The
rules behind it are [in the spec](../spec/spec-configuration.md).

This is enough for a model on your machine:

```yaml
nats:
  servers: [nats://localhost:4222]
channels:
  - name: mychannel
bot:
  username: MyBot
llm_api:
  provider: ollama
  base_url: http://localhost:11434/v1
  model: llama3.2
```

## Values

Types are strict: text never turns into a number, nor a number into text. Times are in seconds.
Quote what has a `{`, `#` or `: ` in it. An unknown key is ignored with a warning, and `llm-bot
check --strict` refuses it.

### From the environment

`${NAME}` in any text is replaced by the variable `NAME`, within longer text too; a variable that
isn't set is an error. `$${` stands for `${` itself. Keys are never replaced, and a variable
can't add YAML. Where a number, `true` or `false` is wanted, the value must be one `${NAME}`
alone.

```yaml
health:
  port: ${LLM_BOT_PORT}
llm_api:
  api_key: ${OPENAI_API_KEY}
  extra_headers:
    X-Project: film-night-${STAGE}
```

These are read besides: `VISION_MODEL` (see `llm_api.vision_model`), and by the client for model
servers `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` and `SSL_CERT_FILE`.

### From files

A secret may be kept in a file of its own, the secret alone in it: `api_key_file`, `token_file`
and `password_file` stand instead of `api_key`, `token` and `password`; both at once are an
error. Names that don't begin with `/` start at the directory of the configuration. Every file
that is named is opened during the check.

```yaml
llm_api:
  base_url: https://api.openai.com/v1
  api_key_file: secrets/openai.key
  model: gpt-4o-mini
```

Secrets of 6 characters and more are blacked out in the log, and no reply that holds one is said.

### Of one room

An entry of `channels` may have its own `system_prompt`, `llm_model`, `triggers`, `rate_limits`
and `response_processing`. Each replaces the global value as a whole, not key by key: what it
leaves out has the default of the tables below, not the global value. `null` or left out: the
global one.

```yaml
rate_limits:
  max_per_channel_per_minute: 5
channels:
  - name: lounge
  - name: horror-night
    system_prompt: You are the creaking house itself. One short line, as plain text.
    llm_model: llama3.1:70b
    triggers:
      - type: mention
        cooldown_seconds: 5
    rate_limits:
      max_per_channel_per_minute: 10
      global_cooldown_seconds: 2
```

### Changing it while it runs

SIGHUP makes the bot read the file anew, the files with secrets too. With any error in it the
running configuration stays, and the log has `config.reload_failed`. Keys marked *reload* then
change at once, those marked *restart* are logged as `config.needs_restart` and wait for the next
start. The environment of a running process doesn't change: a secret that is to be replaced
without a restart has to come from a file. Rooms that stay keep their memory, limits and
counters; a room that is removed is left, its replies under way end as `shutdown`."""

INTRODUCTIONS: Mapping[str, str] = {
    "nats": """\
Logging in takes nothing, or one of: `user` with a password, a token, `credentials_file`,
`nkey_seed_file`.

```yaml
nats:
  servers: [tls://nats-1.example.org:4222, tls://nats-2.example.org:4222]
  user: llm_bot
  password_file: secrets/nats.password
  tls:
    ca_file: secrets/ca.pem
```""",
    "nats.tls": "`cert_file` and `key_file` come together.",
    "bus": "Redis needs the extra: `pip install 'llm-chat-bot[redis]'`.",
    "channels": "One entry for each room; names differ in more than capitals.",
    "llm_api": """\
A provider for the bot on a hosted service, and a local one for when that fails:

```yaml
llm_api:
  base_url: https://api.openai.com/v1
  api_key: ${OPENAI_API_KEY}
  model: gpt-4o-mini
  fallbacks:
    - provider: ollama
      base_url: http://localhost:11434/v1
      model: llama3.2
      max_concurrent_requests: 1
```""",
    "llm_api.parameters": (
        "`null` leaves a parameter out of the request. One that a server refuses is left out from"
        " then on by itself, with the log line `llm.request_adapted`."
    ),
    "triggers": """\
Without the key there are a `mention` and a `pm` trigger, as shown here. In a list of your own,
what a trigger leaves out has the default of the table. `mention`, `contextual` and `pm` may come
once, `keyword` several times; an empty list means that the bot never speaks.

```yaml
triggers:
  - type: mention
    cooldown_seconds: 10
    rate_limit: {max_per_user_per_minute: 2, max_per_channel_per_minute: 5}
  - type: pm
    cooldown_seconds: 5
    rate_limit: {max_per_user_per_minute: 3}
  - type: keyword
    keywords: [bot help, what do you think]
    fire_probability: 0.3
    cooldown_seconds: 60
  - type: contextual
    enabled: true
    fire_probability: 0.1
    rate_limit: {max_per_hour: 5}
```""",
    "rate_limits": (
        "Sliding windows. A user's are one history over all rooms; private messages count for the"
        " user alone."
    ),
    "response_processing.content_filter": """\
```yaml
response_processing:
  content_filter:
    block_patterns: ['https?://', '\\bspoiler\\b']
    block_keywords: [password]
    max_word_count: 40
```""",
    "health": """\
`/health`, `/ready`, `/metrics`, `/decisions` and the live page; [what they answer](API.md#http).
A host other than loopback needs a token.

```yaml
health:
  host: 0.0.0.0
  dashboard: true
  token_file: secrets/health.token
```""",
    "logging": "[The events of the log](API.md#log).",
}
