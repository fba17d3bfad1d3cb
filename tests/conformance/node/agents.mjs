// A RealtimeSession of @openai/agents-realtime, as its users write it, over plain ws.
import { readFile } from "node:fs/promises";

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";

import { parseRealtimeEvent } from "./node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs";
import { BASE_URL, KEY, REALTIME_MODEL, SPEECH, VOICE, report } from "./report.mjs";

const url = `${BASE_URL.replace("http", "ws")}/realtime?model=${REALTIME_MODEL}`;

/** A connected session, and all that happened in it. */
async function connected({ tools = [], config = {} } = {}) {
  const agent = new RealtimeAgent({ name: "Tester", instructions: "Answer briefly.", voice: VOICE, tools });
  const transport = new OpenAIRealtimeWebSocket({ url, useInsecureApiKey: true });
  const session = new RealtimeSession(agent, { transport, model: REALTIME_MODEL, config });
  const seen = { kinds: [], unread: [], errors: [], bytes: 0, interruptions: 0, sent: [] };
  const waiting = [];
  transport.on("*", (event) => {
    seen.kinds.push(event.type);
    // What its schemas do not fit is passed over in silence: here it is told.
    if (parseRealtimeEvent({ data: JSON.stringify(event) }).isGeneric) seen.unread.push(event);
    for (const waiter of waiting.splice(0)) {
      if (event.type === waiter.kind) waiter.resolve(event);
      else waiting.push(waiter);
    }
  });
  session.on("error", ({ error }) => seen.errors.push(error?.error ?? String(error)));
  session.on("audio_interrupted", () => (seen.interruptions += 1));
  transport.on("audio", ({ data }) => (seen.bytes += data.byteLength));
  const until = (kind) => new Promise((resolve) => waiting.push({ kind, resolve }));
  const ready = until("session.updated");
  await session.connect({ apiKey: KEY });
  await ready;
  return { session, transport, seen, until };
}

/** What the session remembers, in short. */
function remembered(session) {
  return session.history.map((item) =>
    item.type === "message"
      ? { role: item.role, status: item.status, parts: item.content.map((part) => [part.type, part.text ?? part.transcript]) }
      : { call: item.name, status: item.status, output: item.output },
  );
}

function told({ session, seen }, more = {}) {
  session.close();
  return {
    history: remembered(session), errors: seen.errors, unread: seen.unread, bytes: seen.bytes,
    interruptions: seen.interruptions, kinds: seen.kinds, ...more,
  };
}

async function text() {
  const talk = await connected();
  for (const line of ["Say hello.", "Say it again."]) {
    const done = talk.until("response.done");
    talk.session.sendMessage(line);
    await done;
  }
  return told(talk, { usage: talk.session.usage.totalTokens });
}

/** Its default: the server ends the turn by what was said, and answers. */
async function audio() {
  const talk = await connected();
  const done = talk.until("response.done");
  const heard = talk.until("conversation.item.retrieved");
  const pcm = await readFile(SPEECH);
  for (let at = 0; at < pcm.length; at += 4800) {
    talk.session.sendAudio(new Uint8Array(pcm.subarray(at, at + 4800)).buffer);
  }
  await Promise.all([done, heard]);
  return told(talk);
}

/** Push to talk: the client ends the turn and asks for the answer. */
async function push_to_talk() {
  const talk = await connected({ config: { audio: { input: { turnDetection: null } } } });
  const done = talk.until("response.done");
  const heard = talk.until("conversation.item.retrieved");
  const pcm = await readFile(SPEECH);
  talk.session.sendAudio(new Uint8Array(pcm).buffer, { commit: true });
  talk.transport.requestResponse();
  await Promise.all([done, heard]);
  return told(talk);
}

/** What was said could not be transcribed. */
async function not_understood() {
  const talk = await connected({ config: { audio: { input: { turnDetection: null } } } });
  const done = talk.until("response.done");
  const failed = talk.until("conversation.item.input_audio_transcription.failed");
  talk.session.sendAudio(new Uint8Array(await readFile(SPEECH)).buffer, { commit: true });
  talk.transport.requestResponse();
  const [{ response }, { error }] = await Promise.all([done, failed]);
  return told(talk, { status: response.status, error });
}

/** A button that stops the agent: cancel, then truncate at what was played, then the item anew. */
async function interruption() {
  const talk = await connected();
  const { session, transport, seen, until } = talk;
  const began = until("response.output_audio.delta");
  const done = until("response.done");
  const kept = until("conversation.item.retrieved");
  const cut = until("conversation.item.truncated");
  session.sendMessage("Tell me a long story.");
  await began;
  await new Promise((resolve) => setTimeout(resolve, 300)); // somebody listens
  session.interrupt();
  const { response } = await done;
  const { audio_end_ms: heardMs } = await cut;
  const { item } = await kept;
  const after = until("response.done");
  session.sendMessage("Say hello.");
  await after;
  return told(talk, { status: response.status, reason: response.status_details?.reason, heardMs, item, muted: transport.muted });
}

/** Speech over the answer: the server notices, and the session truncates by itself. */
async function barge_in() {
  const talk = await connected({ config: { audio: { input: { turnDetection: { type: "server_vad", interruptResponse: true } } } } });
  const { session, until } = talk;
  const began = until("response.output_audio.delta");
  const done = until("response.done");
  const cut = until("conversation.item.truncated");
  session.sendMessage("Tell me a long story.");
  await began;
  const pcm = await readFile(SPEECH);
  for (let at = 0; at < pcm.length; at += 4800) session.sendAudio(new Uint8Array(pcm.subarray(at, at + 4800)).buffer);
  const { response } = await done;
  await cut;
  const second = await until("response.done");
  return told(talk, { status: response.status, reason: response.status_details?.reason, second: second.response.status });
}

async function tool_call() {
  const calls = [];
  const get_time = tool({
    name: "get_time",
    description: "Tells the time.",
    parameters: z.object({}),
    execute: async (input) => {
      calls.push(input);
      return "twelve o'clock";
    },
  });
  const talk = await connected({ tools: [get_time] });
  const { until } = talk;
  const called = until("response.done");
  talk.session.sendMessage("What time is it?");
  await called;
  const answered = await until("response.done");
  return told(talk, { calls, status: answered.response.status });
}

/** The history rewritten by the application: items deleted, put in between, and put first. */
async function history() {
  const talk = await connected();
  const { session, until } = talk;
  const done = until("response.done");
  session.sendMessage("Say hello.");
  await done;
  const before = remembered(session);
  const message = (itemId, words) => ({
    itemId, type: "message", role: "user", status: "completed", content: [{ type: "input_text", text: words }],
  });
  const added = until("conversation.item.done");
  session.updateHistory((items) => [message("item_first", "My name is Ada."), ...items]);
  await added;
  const deleted = until("conversation.item.deleted");
  session.updateHistory((items) => items.filter((item) => item.role !== "assistant"));
  await deleted;
  return told(talk, { before });
}

await report({ text, audio, push_to_talk, not_understood, interruption, barge_in, tool_call, history });
