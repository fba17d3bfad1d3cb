// One dialog, by name, and what came of it as one line of JSON; the test that started this process asserts.
import process from "node:process";

/** Runs the dialog that the command line names; each returns what is to be reported. */
export async function report(dialogs) {
  const dialog = dialogs[process.argv[2]];
  if (dialog === undefined) throw new Error(`there is no dialog ${process.argv[2]}`);
  const result = await dialog();
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

/** What the test tells: where, with which key and models, and a file of speech (PCM16, 24 kHz). */
export const { BASE_URL, KEY, MODEL, REALTIME_MODEL, STT_MODEL, FILE_MODEL, SPEECH_MODEL, VOICE, SPEECH } = process.env;

/** A run of equal kinds as one. */
export function order(kinds) {
  const short = kinds.map((kind) => (kind.endsWith(".delta") ? "delta" : kind));
  return short.filter((kind, index) => kind !== "delta" || short[index - 1] !== "delta");
}
