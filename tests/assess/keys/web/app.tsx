const key = import.meta.env.VITE_ELEVENLABS_API_KEY; // expect: key-in-browser
const url = import.meta.env.VITE_ELEVENLABS_PROXY_URL;
const expo = process.env.EXPO_PUBLIC_ELEVEN_LABS_KEY; // expect: key-in-browser
