/** One request of HTTP/1.1 on a connection that stays. */
export function requestOf(options: {
  host: string;
  method?: string;
  path: string;
  token: string;
  body?: object;
}): Buffer {
  const { host, method = "GET", path, token, body } = options;
  const json = body === undefined ? "" : JSON.stringify(body);
  const headers = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${host}`,
    `Authorization: Bearer ${token}`,
    ...(body === undefined ? [] : ["Content-Type: application/json"]),
    ...(method === "GET" ? [] : [`Content-Length: ${Buffer.byteLength(json)}`]),
  ];
  return Buffer.from(`${headers.join("\r\n")}\r\n\r\n${json}`);
}
