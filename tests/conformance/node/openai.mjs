// openai-node over HTTP: chat completions, responses, speech, transcription, and errors.
import { readFile } from "node:fs/promises";

import OpenAI, { toFile } from "openai";

import { BASE_URL, FILE_MODEL, KEY, MODEL, SPEECH, SPEECH_MODEL, VOICE, order, report } from "./report.mjs";

const client = new OpenAI({ apiKey: KEY, baseURL: BASE_URL, maxRetries: 0 });
const messages = [{ role: "user", content: "Say hello." }];
const parameters = { type: "object", properties: {} };

async function chat() {
  const whole = await client.chat.completions.create({ model: MODEL, messages });
  // The SDK's own accumulation is as strict as it gets about the order of chunks.
  const stream = client.chat.completions.stream({ model: MODEL, messages, stream_options: { include_usage: true } });
  const text = [];
  stream.on("content", (delta) => text.push(delta));
  const last = await stream.finalChatCompletion();
  return {
    whole: whole.choices[0].message.content,
    deltas: text.join(""),
    final: last.choices[0].message.content,
    finish: last.choices[0].finish_reason,
    usage: last.usage,
  };
}

async function chat_function() {
  const ask = [{ role: "user", content: "What time is it?" }];
  const tools = [{ type: "function", function: { name: "get_time", parameters } }];
  const stream = client.chat.completions.stream({ model: MODEL, messages: ask, tools, tool_choice: "required" });
  const { message, finish_reason: finish } = (await stream.finalChatCompletion()).choices[0];
  const [call] = message.tool_calls;
  const result = { role: "tool", tool_call_id: call.id, content: "twelve o'clock" };
  const answer = await client.chat.completions.create({ model: MODEL, messages: [...ask, message, result], tools });
  return { name: call.function.name, arguments: call.function.arguments, finish, answer: answer.choices[0].message.content };
}

async function responses() {
  const stream = client.responses.stream({ model: MODEL, input: "Say hello." });
  const kinds = [];
  const numbers = [];
  for await (const event of stream) {
    kinds.push(event.type);
    numbers.push(event.sequence_number);
  }
  const first = await stream.finalResponse();
  const second = await client.responses.create({ model: MODEL, input: "Again.", previous_response_id: first.id });
  return {
    order: order(kinds),
    numbered: numbers.every((number, index) => number === index),
    text: first.output_text,
    status: first.status,
    previous: second.previous_response_id === first.id,
    second: second.output_text,
  };
}

async function responses_function() {
  const tools = [{ type: "function", name: "get_time", parameters, strict: false }];
  const called = await client.responses
    .stream({ model: MODEL, input: "What time is it?", tools, tool_choice: "required" })
    .finalResponse();
  const call = called.output.find((item) => item.type === "function_call");
  const input = [{ type: "function_call_output", call_id: call.call_id, output: "twelve o'clock" }];
  const answer = await client.responses.create({ model: MODEL, input, tools, previous_response_id: called.id });
  return { name: call.name, arguments: call.arguments, answer: answer.output_text };
}

async function speech() {
  const request = { model: SPEECH_MODEL, voice: VOICE, input: "Hello to you." };
  const pcm = await client.audio.speech.create({ ...request, response_format: "pcm" });
  const wav = await client.audio.speech.create({ ...request, response_format: "wav" });
  const header = Buffer.from(await wav.arrayBuffer()).subarray(0, 4).toString("latin1");
  return { type: pcm.headers.get("content-type"), bytes: (await pcm.arrayBuffer()).byteLength, header };
}

async function transcription() {
  const request = async (fields) =>
    client.audio.transcriptions.create({
      file: await toFile(await readFile(SPEECH), "speech.wav", { type: "audio/wav" }), model: FILE_MODEL, ...fields,
    });
  return { json: (await request({})).text, text: await request({ response_format: "text" }) };
}

async function errors() {
  const caught = async (promise) => {
    try {
      await promise;
    } catch (error) {
      return { kind: error.constructor.name, status: error.status, code: error.code, param: error.param, type: error.type };
    }
    return null;
  };
  const stranger = client.withOptions({ apiKey: "sk-wrong" });
  return {
    key: await caught(stranger.models.list()),
    messages: await caught(client.chat.completions.create({ model: MODEL, messages: [] })),
    model: await caught(client.models.retrieve("no-such-model")),
    listed: (await client.models.list()).data.length > 0,
  };
}

await report({ chat, chat_function, responses, responses_function, speech, transcription, errors });
