// What the form for a command knows: the fields of each action (OCPP 1.6 §6), and the states of a command.

const connector = { name: "connectorId", label: "Connector", kind: "integer", value: 1 };
const wholeStation = { ...connector, label: "Connector (0: the whole station)" };

export const ACTIONS = {
  TriggerMessage: [
    {
      name: "requestedMessage",
      label: "Message",
      options: [
        "StatusNotification",
        "MeterValues",
        "Heartbeat",
        "BootNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
      ],
    },
    { ...connector, label: "Connector (may stay empty)", optional: true },
  ],
  Reset: [{ name: "type", label: "Kind", options: ["Soft", "Hard"] }],
  ChangeAvailability: [wholeStation, { name: "type", label: "Availability", options: ["Inoperative", "Operative"] }],
  UnlockConnector: [connector],
  GetConfiguration: [],
  ChangeConfiguration: [
    { name: "key", label: "Key", value: "MeterValueSampleInterval" },
    { name: "value", label: "Value", value: "10" },
  ],
  ClearCache: [],
  DataTransfer: [
    { name: "vendorId", label: "Vendor", value: "" },
    { name: "messageId", label: "Message (may stay empty)", optional: true },
    { name: "data", label: "Data (may stay empty)", optional: true },
  ],
  RemoteStartTransaction: [connector, { name: "idTag", label: "Tag", value: "" }],
  RemoteStopTransaction: [{ name: "transactionId", label: "Transaction", kind: "integer" }],
};

// After these the station does something that is seen: effect_at.
const WITH_EFFECT = new Set(["RemoteStartTransaction", "RemoteStopTransaction", "Reset", "ChangeAvailability"]);

/** The payload that the values of a form make; what is empty and optional is left out. */
export function payloadOf(action, values) {
  const payload = {};
  for (const { name, kind, optional } of ACTIONS[action]) {
    const text = values[name] ?? "";
    if (text === "" && optional) continue;
    payload[name] = kind === "integer" && text !== "" ? Number(text) : text;
  }
  return payload;
}

const TONES = {
  queued: "busy",
  sent: "busy",
  accepted: "ok",
  rejected: "bad",
  failed: "bad",
  timed_out: "bad",
  expired: "bad",
  cancelled: "off",
};
const WORDS = { timed_out: "no answer in time" };

export const toneOf = (status) => TONES[status];
export const wordsOf = (status) => WORDS[status] ?? status;

/** The life of a command in steps: [{name, at, state}], state is done, now, todo or failed. */
export function stepsOf(command) {
  const { status, created_at, sent_at, answered_at, effect_at, action } = command;
  const over = !["queued", "sent"].includes(status);
  const good = status === "accepted";
  const neverSent = over && !sent_at;
  const steps = [
    { name: "queued", at: created_at, state: status === "queued" ? "now" : "done" },
    { name: "sent", at: sent_at, state: status === "sent" ? "now" : sent_at ? "done" : neverSent ? "skipped" : "todo" },
    { name: over ? wordsOf(status) : "answered", at: answered_at, state: over ? (good ? "done" : "failed") : "todo" },
  ];
  if (WITH_EFFECT.has(action) && (!over || good)) {
    steps.push({ name: "effect seen", at: effect_at, state: effect_at ? "done" : good ? "now" : "todo" });
  }
  return steps;
}
