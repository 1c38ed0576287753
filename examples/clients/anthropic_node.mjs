// Anthropic's SDK for Node, with any model behind it: npm install @anthropic-ai/sdk.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: process.env.LUMNI_URL, apiKey: process.env.LUMNI_API_KEY });
const messages = [{ role: "user", content: "Name a prime." }];

const message = await client.messages.create({ model: "auto", max_tokens: 200, messages });
console.log(message.content[0].text);
console.log(message.model, "cost", message.lumni.cost.usd, "USD");
