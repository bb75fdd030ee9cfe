// Told by the server each second: by its silence the page knows that what it shows is old. It also keeps the tab's
// title and icon, and says that the connection is lost, which the server cannot.
export default {
  template: `
    <div role="alert" class="banners"><p v-if="lost" class="banner lost-link" data-part="console">
      <template v-for="(part, index) in parts"
        ><time v-if="index % 2">{{ since }}</time><template v-else>{{ part }}</template></template></p></div>`,
  props: {
    look: { type: String, default: "" }, // another one each second
    title: String, // of the tab
    unknown: String, // and what it says while nothing is known
    tone: { type: String, default: "unknown" },
    words: String,
  },
  computed: {
    lost: () => window.rectbotLink.ref().value,
    since() {
      return this.lost ? window.rectbotTime(window.rectbotLink.since, { short: true }) : "";
    },
    parts() {
      return this.words.split(/(\u0001)/);
    },
  },
  watch: {
    look() {
      this.hear();
    },
    title: "head",
    tone: "head",
    lost: "head",
  },
  methods: {
    hear() {
      window.rectbotLink.heard(this.look);
    },
    head() {
      const title = this.lost ? this.unknown : this.title;
      if (document.title !== title) document.title = title;
      window.rectbotIcon(this.lost ? "unknown" : this.tone);
    },
  },
  mounted() {
    document.getElementById("first-sight")?.remove();
    this.hear();
    this.head();
  },
};
