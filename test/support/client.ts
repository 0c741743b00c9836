/** An answer, with its body as JSON where it is JSON. */
export interface Answer {
  status: number;
  headers: Headers;
  body: Json;
  bytes: Buffer;
}

// The contract is checked by the tests' own assertions; a type here would only repeat it.
export type Json = ReturnType<typeof JSON.parse>;

export interface Client {
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  /** Registers `name` with an email and password made of it, and gives a client that is signed in. */
  register(name: string): Promise<SignedIn>;
  as(token: string): Client;
}

export interface SignedIn extends Client {
  token: string;
  id: string;
  username: string;
  password: string;
  /** Uploads pictures as one post; the answer must be 202. @returns the post's id. */
  post(pictures: readonly Buffer[], options?: { caption?: string; altTexts?: readonly string[] }): Promise<string>;
}

export interface RequestOptions {
  json?: unknown;
  form?: FormData;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Looks at every answer, with the method and path that were asked for; it throws where one is wrong. */
export type Observer = (method: string, path: string, answer: Answer) => void;

/** Speaks to a server as any client would. Paths that do not begin with /media and the like are below /api/v1. */
export function createClient(base: string, token?: string, observe: Observer = () => undefined): Client {
  const request: Client["request"] = async (method, path, options = {}) => {
    const rooted = /^\/(media|exports\/|account\/|healthz|readyz|metrics|docs|openapi\.json|api)/.test(path);
    const response = await fetch(path.startsWith("http") ? path : `${base}${rooted ? "" : "/api/v1"}${path}`, {
      method,
      headers: {
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(options.json === undefined ? {} : { "content-type": "application/json" }),
        ...options.headers,
      },
      ...(options.json === undefined ? {} : { body: JSON.stringify(options.json) }),
      ...(options.form ? { body: options.form } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const isJson = response.headers.get("content-type")?.includes("json") && bytes.length > 0;
    const answer = {
      status: response.status,
      headers: response.headers,
      bytes,
      body: isJson ? JSON.parse(bytes.toString()) : null,
    };
    observe(method, path, answer);
    return answer;
  };
  const client: Client = {
    request,
    as: (other) => createClient(base, other, observe),
    async register(name) {
      const password = `the password of ${name}`;
      const answer = await request("POST", "/auth/register", {
        json: { username: name, email: `${name}@example.org`, password },
      });
      if (answer.status !== 201) throw new Error(`register ${name}: ${answer.status} ${answer.bytes}`);
      const signedIn = createClient(base, answer.body.token, observe);
      return {
        ...signedIn,
        token: answer.body.token,
        id: String(answer.body.user?.id),
        username: name,
        password,
        async post(pictures, { caption, altTexts = [] } = {}) {
          const posted = await signedIn.request("POST", "/posts", { form: postForm(pictures, caption, altTexts) });
          if (posted.status !== 202) throw new Error(`post: ${posted.status} ${posted.bytes}`);
          return String(posted.body.post_id);
        },
      };
    },
  };
  return client;
}

/** The multipart form of a post. */
export function postForm(pictures: readonly Buffer[], caption?: string, altTexts: readonly string[] = []): FormData {
  const form = new FormData();
  if (caption !== undefined) form.append("caption", caption);
  for (const altText of altTexts) form.append("alt_text", altText);
  for (const [index, picture] of pictures.entries()) {
    form.append("media", new Blob([Uint8Array.from(picture)]), `picture-${index}`);
  }
  return form;
}
