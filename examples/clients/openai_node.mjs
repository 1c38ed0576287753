// OpenAI's SDK for Node: npm install openai.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.LUMNI_URL}/v1`, apiKey: process.env.LUMNI_API_KEY });
const messages = [{ role: "user", content: "Name a prime." }];

const answer = await client.chat.completions.create({ model: "auto", messages });
console.log(answer.choices[0].message.content);
console.log(answer.model, "cost", answer.lumni.cost.usd, "USD");

for await (const event of await client.responses.create({ model: "auto", input: "Count to five.", stream: true })) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
}
console.log();
