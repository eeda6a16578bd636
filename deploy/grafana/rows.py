"""The rows of the dashboard. $__rate_interval is four scrapes or more."""

from __future__ import annotations

from deploy.grafana.panels import Query, Row, stat, timeseries

BOT = 'instance=~"$instance"'
ROOM = f'{BOT}, channel=~"$channel"'

GREEN, RED = "green", "red"


# --- questions ---


def per_minute(metric: str, by: str, where: str = ROOM) -> Query:
    """A counter's growth by one label. What never happens isn't drawn."""
    return Query(
        f"sum by ({by}) (rate(llm_bot_{metric}_total{{{where}}}[$__rate_interval])) * 60 > 0",
        f"{{{{{by}}}}}",
    )


def quantile(part: float, metric: str, by: str = "", where: str = ROOM) -> Query:
    """That much of a histogram lies below it."""
    labels = f"le, {by}" if by else "le"
    rate = f"rate(llm_bot_{metric}_bucket{{{where}}}[$__rate_interval])"
    name = f"p{part * 100:g}"
    return Query(
        f"histogram_quantile({part:g}, sum by ({labels}) ({rate}))",
        f"{{{{{by}}}}} {name}" if by else name,
    )


def of_bot(metric: str) -> str:
    """A metric that every process has, of bots alone."""
    return f"{metric}{{{BOT}}} and on (job, instance) llm_bot_build_info"


# --- rows ---


def overview() -> Row:
    yes_no = [(1, "yes", GREEN), (0, "NO", RED)]
    return Row(
        "Overview",
        [
            stat(
                "Up",
                "Whether every bot answers scrapes.",
                f'min(up{{job="llm_bot", {BOT}}})',
                words=yes_no,
            ),
            stat(
                "NATS",
                "Whether every bot is connected.",
                f"min(llm_bot_nats_connected{{{BOT}}})",
                words=yes_no,
            ),
            stat(
                "Model",
                "Whether the last request to a model got an answer.",
                f"min(llm_bot_llm_api_available{{{BOT}}})",
                words=yes_no,
            ),
            stat("Rooms", "Rooms listened to.", f"sum(llm_bot_active_channels{{{BOT}}})"),
            stat(
                "Alerts",
                "Alerts of deploy/prometheus/rules.yml that fire.",
                'count(ALERTS{alertname=~"LlmBot.+", alertstate="firing"}) or vector(0)',
                steps=[(None, GREEN), (1, RED)],
            ),
            stat(
                "Configuration",
                "Whether the last reload took effect.",
                f"min(llm_bot_config_last_reload_successful{{{BOT}}})",
                words=[(1, "as in the file", GREEN), (0, "RELOAD FAILED", RED)],
            ),
            stat(
                "Running for",
                "Since the latest start of any bot.",
                f"min(time() - ({of_bot('process_start_time_seconds')}))",
                unit="s",
            ),
            stat(
                "Version",
                "Of the bots.",
                f"count by (version) (llm_bot_build_info{{{BOT}}})",
                legend="{{version}}",
            ),
        ],
    )


def lines() -> Row:
    talk = f'{ROOM}, outcome!~"no_match|own_line"'
    return Row(
        "Lines and decisions, per minute",
        [
            timeseries(
                "Decisions",
                "How lines, private messages and ticks ended; without own lines and those that "
                "matched no trigger.",
                per_minute("decisions", "outcome", talk),
                is_stacked=True,
            ),
            timeseries(
                "Events heard",
                "What the connector published.",
                per_minute("events_received", "event_type"),
                is_stacked=True,
            ),
            timeseries(
                "Triggers fired",
                "Lines that a trigger admitted.",
                per_minute("triggers_fired", "trigger_type"),
                is_stacked=True,
                width=8,
            ),
            timeseries(
                "Triggers suppressed",
                "Lines that a trigger matched and something refused, by what refused.",
                per_minute("triggers_suppressed", "reason"),
                is_stacked=True,
                width=8,
            ),
            timeseries(
                "Triggers asked",
                "Lines that a trigger was asked about, and ticks.",
                per_minute("triggers_evaluated", "trigger_type"),
                is_stacked=True,
                width=8,
            ),
        ],
    )


def replies() -> Row:
    average = (
        f"sum(rate(llm_bot_response_relevance_score_sum{{{ROOM}}}[$__rate_interval]))"
        f" / sum(rate(llm_bot_response_relevance_score_count{{{ROOM}}}[$__rate_interval]))"
    )
    return Row(
        "Replies",
        [
            timeseries(
                "From a line to its reply",
                "The highest bucket ends at 30 s: more is drawn as 30 s.",
                quantile(0.5, "reply_duration_seconds"),
                quantile(0.95, "reply_duration_seconds"),
                unit="s",
            ),
            timeseries(
                "Replies said, per minute",
                "In the room and privately.",
                per_minute("responses_sent", "target_type"),
                is_stacked=True,
            ),
            timeseries(
                "Answers filtered, per minute",
                "Answers that were not said, by what refused.",
                per_minute("responses_filtered", "reason"),
                is_stacked=True,
            ),
            timeseries(
                "Deliveries, per minute",
                "What is known of the arrival of lines.",
                per_minute("deliveries", "result"),
                is_stacked=True,
            ),
            timeseries(
                "Relevance",
                "How much replies have to do with the conversation, 0 to 1.",
                quantile(0.5, "response_relevance_score"),
                Query(average, "mean"),
                unit="percentunit",
                width=8,
            ),
            timeseries(
                "Length in characters",
                "Of what was said.",
                quantile(0.5, "response_length_characters"),
                quantile(0.95, "response_length_characters"),
                width=8,
            ),
            timeseries(
                "Observations, per minute",
                "Insights about the conversation, by kind.",
                per_minute("insights", "kind"),
                is_stacked=True,
                width=8,
            ),
        ],
    )


def model() -> Row:
    repeats = f"sum by (provider) (rate(llm_bot_llm_retries_total{{{BOT}}}[$__rate_interval])) * 60"
    turns = f"sum by (provider) (rate(llm_bot_llm_fallbacks_total{{{BOT}}}[$__rate_interval])) * 60"
    return Row(
        "Model",
        [
            timeseries(
                "Requests, per minute",
                "How requests to a model ended.",
                per_minute("llm_requests", "status", BOT),
                is_stacked=True,
            ),
            timeseries(
                "Time of a request",
                "Of one request, by provider. The highest bucket ends at 30 s.",
                quantile(0.5, "llm_request_duration_seconds", "provider", BOT),
                quantile(0.95, "llm_request_duration_seconds", "provider", BOT),
                unit="s",
            ),
            timeseries(
                "Retries and fallbacks, per minute",
                "Repeats with the same provider, and turns to one that stands in.",
                Query(repeats, "{{provider}} retries"),
                Query(turns, "{{provider}} fallbacks"),
            ),
            timeseries(
                "Tokens, per minute",
                "As the servers counted them.",
                per_minute("llm_tokens", "kind", BOT),
                is_stacked=True,
            ),
        ],
    )


def queues() -> Row:
    return Row(
        "Queues and limits",
        [
            timeseries(
                "Replies that wait",
                "In the queues of each room.",
                Query(f"sum by (channel) (llm_bot_reply_queue_depth{{{ROOM}}})", "{{channel}}"),
                width=8,
            ),
            timeseries(
                "Limits: lines still allowed",
                "The least of the chosen rooms.",
                Query(
                    f"min by (limit_type) (llm_bot_rate_limit_remaining{{{ROOM}}})",
                    "{{limit_type}}",
                ),
                width=8,
            ),
            timeseries(
                "Replies that wait for NATS",
                "The outbound buffer.",
                Query(
                    f"sum by (instance) (llm_bot_outbound_buffer_depth{{{BOT}}})", "{{instance}}"
                ),
                width=8,
            ),
            timeseries(
                "Lines remembered",
                "The context window of each room.",
                Query(f"sum by (channel) (llm_bot_context_window_size{{{ROOM}}})", "{{channel}}"),
            ),
            timeseries(
                "Clock skew",
                "How far the connector's clock is ahead of CyTube's.",
                Query(f"max by (channel) (llm_bot_clock_skew_seconds{{{ROOM}}})", "{{channel}}"),
                unit="s",
                can_be_negative=True,
            ),
        ],
    )


def process() -> Row:
    cpu = f"rate(process_cpu_seconds_total{{{BOT}}}[$__rate_interval])"
    reconnects = f"sum by (instance) (increase(llm_bot_nats_reconnects_total{{{BOT}}}[$__range]))"
    lost = f"sum by (instance) (increase(llm_bot_log_lines_lost_total{{{BOT}}}[$__range]))"
    reloads = f"sum by (result) (increase(llm_bot_config_reloads_total{{{BOT}}}[$__range]))"
    return Row(
        "Process",
        [
            timeseries(
                "Memory",
                "Resident.",
                Query(of_bot("process_resident_memory_bytes"), "{{instance}}"),
                unit="bytes",
                width=8,
            ),
            timeseries(
                "Processor",
                "Of one core.",
                Query(f"{cpu} and on (job, instance) llm_bot_build_info", "{{instance}}"),
                unit="percentunit",
                width=8,
            ),
            timeseries(
                "Time of an event",
                "From its arrival to the end of its decision.",
                quantile(0.5, "event_processing_seconds", where=BOT),
                quantile(0.99, "event_processing_seconds", where=BOT),
                unit="s",
                width=8,
            ),
            timeseries(
                "Events dropped, per minute",
                "Not understood, too fast (slow_consumer), or met a bug (error).",
                per_minute("events_dropped", "reason", BOT),
                is_stacked=True,
                width=8,
            ),
            timeseries(
                "Open files",
                "Connections among them.",
                Query(of_bot("process_open_fds"), "{{instance}}"),
                width=8,
            ),
            timeseries(
                "Reconnects, reloads and lost log lines in the time shown",
                "How often NATS came back, how reloads ended, what nobody read of the log in time.",
                Query(reconnects, "{{instance}} reconnects"),
                Query(lost, "{{instance}} log lines lost"),
                Query(reloads, "reloads {{result}}"),
                width=8,
            ),
        ],
    )
