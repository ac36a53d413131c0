/** Bytes that once showed a difference, or that a mistake was made about; "§" is the mark. They run on every machine, whatever the seed. */
export const kept: readonly string[] = [
  // A value that is white space only is empty.
  "GET /§ HTTP/1.1\r\nHost: a.test\r\nX-A: \t \r\n\r\n",
  // What follows a request that ends the connection isn't one.
  "GET /§ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET /§smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
  "POST /§ HTTP/1.0\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcGET /§smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
  // As long as "transfer-encoding", by which fields that concern us are found: it went on although it is the proxy's own.
  "GET /§ HTTP/1.1\r\nHost: a.test\r\nProxy-Connec0tion: close\r\nX-A: 1\r\n\r\n",
  "DELETE /§ HTTP/1.1\r\nHost: a.test\r\nProxy-: 1\r\nProxy-Connection: close\r\n\r\n",
  // The one finding of a run of a million cases; see exceptions.ts.
  "DELETE /§ HTTP/1.1\r\nHost: a.test\r\nUpgrade: foo\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\n3;\r\nabc\r\n0\r\n\r\n",
];
