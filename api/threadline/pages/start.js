// A file of its own, because the page forbids inline scripts.
SwaggerUIBundle({ url: "schema", dom_id: "#api", deepLinking: true, tryItOutEnabled: true });
