// A WebSocket echo server on Debian's node-ws.  usage: ws-echo.js PORT
'use strict';

const { WebSocketServer } = require('ws');
const port = Number(process.argv[2]);
const server = new WebSocketServer({
  host: '127.0.0.1',
  port,
  handleProtocols: (offered) => (offered.has('echo') ? 'echo' : false),
});

server.on('connection', (ws, request) => {
  ws.send(JSON.stringify({ host: request.headers.host,
                           origin: request.headers.origin }));
  ws.on('message', (data, isBinary) => {
    if (!isBinary && data.toString() === 'close') {
      ws.close(4001, 'asked to');
    } else {
      ws.send(data, { binary: isBinary });
    }
  });
});
