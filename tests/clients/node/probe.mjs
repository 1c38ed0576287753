// What every probe does: run its checks against a running Lumni, and print what went wrong in each, by its name.
export const URL = process.env.LUMNI_URL;
export const KEY = process.env.LUMNI_API_KEY;
// It knows tools, schemas and pictures, and only chats.
export const MODEL = "large";
export const QUESTION = "What is the weather in Paris?";
export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const PARAMETERS = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

export function check(holds, what) {
  if (!holds) throw new Error(`not as expected: ${JSON.stringify(what) ?? what}`);
}

// The error of this class that a call ends with.
export async function raises(kind, asked) {
  try {
    await asked;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error(`${kind.name} was expected, and nothing went wrong`);
}

// Let the provider answer the next request for a model in another way, as tests.simulator.behaviour says.
export async function failsOnce(model, behaviour) {
  await fetch(`${process.env.SIMULATOR_URL}/sim/script`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, queue: [behaviour] }),
  });
}

export async function main(checks) {
  const found = {};
  for (const [name, run] of Object.entries(checks)) {
    try {
      await run();
      found[name] = null;
    } catch (error) {
      found[name] = String(error?.stack ?? error);
    }
  }
  console.log(JSON.stringify(found));
}
