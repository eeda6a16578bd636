// The events of the server, over breaks: the browser resumes by itself where it can, this where it
// can't (the server was away, or said no).

const EVENTS = ["hello", "line", "decision", "insight", "state"];
const AGAIN_MS = 2000;

export function listen(onEvent, onConnection) {
  let place = "";

  const open = () => {
    const source = new EventSource(place ? `/events?after=${encodeURIComponent(place)}` : "/events");
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) place = event.lastEventId;
        onEvent(name, JSON.parse(event.data));
      });
    }
    source.onopen = () => onConnection("open");
    source.onerror = () => {
      onConnection("lost");
      if (source.readyState === EventSource.CLOSED) {
        source.close();
        setTimeout(() => again(), AGAIN_MS);
      }
    };
  };

  // A session that has ended needs the form again, which the page itself brings.
  const again = async () => {
    try {
      const answer = await fetch("/", { redirect: "manual" });
      if (answer.status === 401) {
        location.reload();
        return;
      }
    } catch {
      // Still away.
    }
    open();
  };

  open();
}
