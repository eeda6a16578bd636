// Settings and outcomes in words. What isn't named here appears under its own name.

const NAMES = {
  cooldown_seconds: "Pause after it fired",
  evaluation_interval_seconds: "Time between looks",
  fire_probability: "Chance",
  global_cooldown_seconds: "Pause between lines",
  max_per_channel_per_hour: "Lines an hour",
  max_per_channel_per_minute: "Lines a minute",
  max_per_hour: "Times an hour",
  max_per_user_per_hour: "Replies an hour",
  max_per_user_per_minute: "Replies a minute",
  media_change_cooldown_seconds: "Quiet after a new film",
  min_messages_since_last_bot_message: "Lines since its own",
  new_line: "Somebody spoke",
  nothing_waiting: "Nothing else to say",
  queue_size: "Place in the queue",
  somebody_present: "Somebody is here",
};

export function settingName(name) {
  return NAMES[name] ?? name.replaceAll("_", " ");
}

const OUTCOMES = {
  no_match: "not addressed",
  own_line: "its own line",
  llm_failed: "no model",
  user_limit: "user limit",
  channel_limit: "room limit",
  channel_cooldown: "pause",
  media_cooldown: "new film",
  probability: "chance",
};

export function outcomeName(outcome) {
  if (!outcome) return "thinking";
  return OUTCOMES[outcome] ?? outcome.replaceAll("_", " ");
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}
