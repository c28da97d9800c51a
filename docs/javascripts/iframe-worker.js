/* Search without a server: a page that is a file may start no worker, so a hidden frame does its work. */
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.frame = frame.contentWindow;
      window.addEventListener("message", ({ source, data }) => {
        if (source === this.frame) this.answer(new MessageEvent("message", { data }));
      });
      this.frame.document.open();
      this.frame.document.write("<script>window.postMessage = data => parent.postMessage(data, '*')</script>");
      this.loaded = new Promise((resolve) => {
        const script = this.frame.document.createElement("script");
        script.src = url;
        script.onload = resolve;
        this.frame.document.head.append(script);
      });
      this.frame.document.close();
    }

    answer(event) {
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    }

    postMessage(data) {
      this.loaded.then(() => this.frame.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.frameElement.remove();
    }
  };
  window.Worker = window.IFrameWorker;
}
