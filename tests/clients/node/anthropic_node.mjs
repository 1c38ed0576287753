// Anthropic's SDK for Node.
import Anthropic from "@anthropic-ai/sdk";
import { KEY, MODEL, PARAMETERS, PIXEL, QUESTION, URL, check, failsOnce, main, raises } from "./probe.mjs";

const options = { baseURL: URL, apiKey: KEY };
const client = new Anthropic(options);
const asked = { model: MODEL, max_tokens: 100, messages: [{ role: "user", content: QUESTION }] };
const tools = ["get_weather", "get_time"].map((name) => ({ name, input_schema: PARAMETERS }));

await main({
  async plain() {
    for (const model of [MODEL, "native"]) {
      const answer = await client.messages.create({ ...asked, model });
      check(answer.content[0].text.startsWith("Echo What is"), answer);
      check(answer.lumni.cost.nano_usd > 0, answer.lumni);
    }
  },
  async stream() {
    for (const model of [MODEL, "native"]) {
      const stream = client.messages.stream({ ...asked, model });
      check((await stream.finalText()).startsWith("Echo What is"), model);
    }
  },
  async tools() {
    const called = await client.messages.create({ ...asked, tools });
    const uses = called.content.filter((block) => block.type === "tool_use");
    check(uses.map((use) => use.name).join() === "get_weather,get_time", called);
    const content = uses.map((use) => ({ type: "tool_result", tool_use_id: use.id, content: "18 degrees" }));
    const turns = [...asked.messages, { role: "assistant", content: called.content }, { role: "user", content }];
    const answered = await client.messages.create({ ...asked, tools, messages: turns });
    check(answered.stop_reason === "end_turn", answered);
  },
  async streamed_tools() {
    const called = await client.messages.stream({ ...asked, tools }).finalMessage();
    const uses = called.content.filter((block) => block.type === "tool_use");
    check(uses.length === 2 && uses.every((use) => use.input.city === "text"), called);
  },
  async schema() {
    const schema = { ...PARAMETERS, additionalProperties: false };
    const answer = await client.messages.create({ ...asked, output_config: { format: { type: "json_schema", schema } } });
    check(JSON.parse(answer.content[0].text).city === "text", answer);
  },
  async image() {
    const source = { type: "base64", media_type: "image/png", data: PIXEL };
    const content = [{ type: "image", source }, { type: "text", text: "What is it?" }];
    const answer = await client.messages.create({ ...asked, messages: [{ role: "user", content }] });
    check(answer.content[0].text, answer);
  },
  async errors() {
    const stranger = new Anthropic({ ...options, apiKey: "sk-wrong" });
    await raises(Anthropic.AuthenticationError, stranger.messages.create(asked));
    await raises(Anthropic.NotFoundError, client.messages.create({ ...asked, model: "nothing" }));
    await raises(Anthropic.BadRequestError, client.messages.create({ ...asked, max_tokens: 0 }));
  },
  async retries() {
    await failsOnce(MODEL, "503");
    check((await client.messages.create(asked)).content[0].text, "retried");
  },
  async timeouts() {
    const late = client.messages.create({ ...asked, model: "hangs" }, { timeout: 1000, maxRetries: 0 });
    await raises(Anthropic.APIConnectionTimeoutError, late);
  },
  async abort() {
    const leaving = new AbortController();
    const left = client.messages.create({ ...asked, model: "hangs" }, { signal: leaving.signal });
    setTimeout(() => leaving.abort(), 300);
    await raises(Anthropic.APIUserAbortError, left);
  },
});
