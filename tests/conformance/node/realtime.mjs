// openai-node's Realtime client, which takes no connection but wss: conversations and transcription.
import { readFile } from "node:fs/promises";
import { once } from "node:events";

import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

import { BASE_URL, KEY, REALTIME_MODEL, SPEECH, STT_MODEL, VOICE, order, report } from "./report.mjs";

const client = new OpenAI({ apiKey: KEY, baseURL: BASE_URL, maxRetries: 0 });
const format = { type: "audio/pcm", rate: 24000 };

/** An open connection, what it sends and what went wrong, and a way to wait for the next event of a kind. */
async function connection(props) {
  const realtime = new OpenAIRealtimeWS(props, client);
  const events = [];
  const errors = [];
  const waiting = [];
  realtime.on("error", (error) => errors.push(error.message));
  realtime.on("event", (event) => {
    events.push(event);
    for (const waiter of waiting.splice(0)) {
      if (event.type === waiter.kind) waiter.resolve(event);
      else waiting.push(waiter);
    }
  });
  const until = (kind) => new Promise((resolve) => waiting.push({ kind, resolve }));
  const created = until("session.created");
  await once(realtime.socket, "open");
  await created;
  return { realtime, events, errors, until };
}

async function close(realtime) {
  const closed = once(realtime.socket, "close");
  realtime.close();
  const [code] = await closed;
  return code;
}

function append(realtime, pcm) {
  for (let at = 0; at < pcm.length; at += 4800) {
    realtime.send({ type: "input_audio_buffer.append", audio: pcm.subarray(at, at + 4800).toString("base64") });
  }
}

async function conversation() {
  const { realtime, events, errors, until } = await connection({ model: REALTIME_MODEL });
  const audio = { input: { format, turn_detection: null }, output: { format, voice: VOICE } };
  const updated = until("session.updated");
  realtime.send({ type: "session.update", session: { type: "realtime", output_modalities: ["audio"], audio } });
  await updated;
  const content = [{ type: "input_text", text: "Say hello." }];
  const added = until("conversation.item.done");
  realtime.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  await added;
  const start = events.length;
  const done = until("response.done");
  realtime.send({ type: "response.create" });
  const { response } = await done;
  const answer = events.slice(start);
  const bytes = answer
    .filter((event) => event.type === "response.output_audio.delta")
    .reduce((sum, event) => sum + Buffer.from(event.delta, "base64").length, 0);
  return {
    first: events[0].session.type,
    order: order(answer.map((event) => event.type)),
    status: response.status,
    transcript: response.output[0].content[0].transcript,
    bytes,
    errors,
    code: await close(realtime),
  };
}

async function transcription() {
  const { realtime, events, errors, until } = await connection({ intent: "transcription" });
  const input = { format, transcription: { model: STT_MODEL }, turn_detection: null };
  const updated = until("session.updated");
  realtime.send({ type: "session.update", session: { type: "transcription", audio: { input } } });
  await updated;
  const start = events.length;
  const completed = until("conversation.item.input_audio_transcription.completed");
  append(realtime, await readFile(SPEECH));
  realtime.send({ type: "input_audio_buffer.commit" });
  const { transcript, usage } = await completed;
  const kinds = events.slice(start).map((event) => event.type);
  const deltas = events.slice(start).flatMap((event) => (event.type.endsWith(".delta") ? [event.delta] : []));
  return {
    first: events[0].session.type,
    order: order(kinds.filter((kind) => !kind.endsWith(".delta"))),
    deltas: deltas.join(""),
    transcript,
    usage: usage.type,
    errors,
    code: await close(realtime),
  };
}

async function refused() {
  const realtime = new OpenAIRealtimeWS({ intent: "transcription" }, client.withOptions({ apiKey: "sk-wrong" }));
  const message = await new Promise((resolve) => realtime.on("error", (error) => resolve(error.message)));
  return { message };
}

await report({ conversation, transcription, refused });
