// Signing in: with a password or a link by mail, as the project allows.

import { config } from "./client.js";
import { keep, offer, refusal, sendLink, session, signIn } from "./session.js";
import { Act, Failure, Field, Form, html } from "./ui.js";
import { useState } from "./vendor/libraries.js";

export function SignIn() {
  const [sent, setSent] = useState();
  const page = location.href.replace(/#.*/, "");
  const mailLink = async ({ email }) => {
    await sendLink(email, page);
    setSent(email);
  };
  return html`<main class="sign-in">
    <h1>Threadline</h1>
    <p class="quiet">Sign in to <bdi>${new URL(config.url).host}</bdi>.</p>
    <${Failure} error=${refusal && Error(refusal)} />
    ${config.users && html`<section aria-label="Users of the seed"><h2>Users of the seed</h2>
      <ul class="plain-list">${config.users.map((email) => html`<li><${Act}
        onPress=${() => signIn({ email, password: config.password })}>
        ${email}</${Act}></li>`)}</ul></section>`}
    <${Form} action="Sign in" keep onSend=${signIn}>
      <${Field} label="Email" name="email" type="email" required autocomplete="username" />
      <${Field} label="Password" name="password" type="password" required autocomplete="current-password" />
    </${Form}>
    ${!config.users && html`<details><summary>Sign in with a link by mail</summary>
      <${Form} action="Send the link" onSend=${mailLink}>
        <${Field} label="Email" name="email" type="email" required autocomplete="username" />
      </${Form}>
      ${sent && html`<p role="status">A link was sent to ${sent}.</p>`}</details>`}
  </main>`;
}

/** Asks before a link signs in, because the sender may want others to write into the sender's account. */
export function Offer({ brought }) {
  const mine = session.use()?.user.email;
  return html`<main class="sign-in">
    <h1>Sign in with this link?</h1>
    <p>The link signs you in as <bdi>${brought.user.email}</bdi>. Continue only if you know this link.</p>
    ${mine && html`<p>You are signed in as <bdi>${mine}</bdi>.</p>`}
    <button onClick=${() => keep(brought)}>Sign in with the link</button>
    <button class="plain" onClick=${() => offer.set(null)}>Leave it</button>
  </main>`;
}
