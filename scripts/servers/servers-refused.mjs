/** No server can be had, or one does not start; the message is a sentence for the person. */
export class ServersRefused extends Error {
  name = 'ServersRefused';
}
