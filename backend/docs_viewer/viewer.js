window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: "/openapi",
    dom_id: "#viewer",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    filter: true,
    // Would ask a server of its makers whether the document is valid.
    validatorUrl: null,
  });
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", follow);
  follow();
});
