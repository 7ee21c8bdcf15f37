"""A TCP proxy in a process of its own that counts what passes, so that bytes on the wire are not taken from the parties' own word."""
import multiprocessing
import socket
import threading


def pump(source, sink, counts, index):
    try:
        while chunk := source.recv(1 << 18):
            with counts.get_lock():
                counts[index] += len(chunk)
            sink.sendall(chunk)
    except OSError:
        pass
    for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        try:
            end.shutdown(how)
        except OSError:
            pass


def serve(listener, port, counts):
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        with counts.get_lock():
            counts[2] += 1
        for pair in ((client, server, 0), (server, client, 1)):
            threading.Thread(target=pump, args=(pair[0], pair[1], counts, pair[2]), daemon=True).start()


class CountingProxy:
    """Listens on a free port of its own in front of 127.0.0.1:`port`."""

    def __init__(self, port):
        self.counts = multiprocessing.Array("q", 3)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.process = multiprocessing.Process(target=serve, args=(listener, port, self.counts), daemon=True)
        self.process.start()
        listener.close()

    def take(self):
        """(bytes to the server, bytes from it, connections) since the last call."""
        with self.counts.get_lock():
            out = tuple(self.counts)
            self.counts[:] = [0, 0, 0]
        return out

    def stop(self):
        self.process.terminate()
        self.process.join()
