const client = new ElevenLabsClient({ apiKey: "@KEY@" }); // expect: key-hardcoded
const fromEnv = new ElevenLabsClient({ apiKey: process.env.ELEVENLABS_API_KEY });
const leaked = process.env.NEXT_PUBLIC_ELEVENLABS_API_KEY; // expect: key-in-browser
const modelId = "eleven_monolingual_v1";
await fetch(`https://api.elevenlabs.io/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM`, {
  headers: { "xi-api-key": "YOUR_API_KEY" },
});
