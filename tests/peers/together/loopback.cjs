// Preloaded into the Node server, which has no option for the address: a listen call that names only a port gets the
// loopback address, not every interface.
const net = require("net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  if (/^\d+$/.test(String(port)) && typeof rest[0] !== "string") return listen.call(this, Number(port), "127.0.0.1", ...rest);
  return listen.call(this, port, ...rest);
};
