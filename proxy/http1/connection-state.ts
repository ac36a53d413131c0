/** Reading a request, or waiting for one. */
export const READING = 0;
/** The request is complete, its response isn't. What follows waits. */
export const RESPONSE = 1;
/** After an upgrade: bytes as they are. */
export const RAW = 2;
/** The last response is sent; what still comes is thrown away until the client closes. */
export const CLOSING = 3;
/** The socket is gone. */
export const CLOSED = 4;
/** It speaks HTTP/2, and is not ours any more. */
export const HANDED_OVER = 5;
