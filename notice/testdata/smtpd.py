# A mail server for tests: takes what comes and prints it, one line of JSON a
# message. Usage: smtpd.py none|starttls|implicit [CERTIFICATE KEY [USER PASSWORD]]
# It prints its port first, and ends when its standard input does. Who a message
# is for says what becomes of it.
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "message": envelope.content.decode("ascii"),
            "tls": session.ssl is not None or mode == "implicit",
            "user": (session.auth_data or b"").decode() if session.authenticated else "",
        })
        if envelope.rcpt_tos[0].startswith("lost"):
            server.transport.abort()
        if envelope.rcpt_tos[0].startswith("slow"):
            await asyncio.sleep(3600)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login.decode() == account[0] and data.password.decode() == account[1]
    return AuthResult(success=good, handled=False, auth_data=data.login)


def say(what):
    print(json.dumps(what), flush=True)


async def main():
    loop = asyncio.get_running_loop()
    context = None
    if mode != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[2], sys.argv[3])

    def face():
        return SMTP(
            Handler(),
            hostname="mail.example",
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=authenticate if account else None,
            auth_required=bool(account),
            auth_require_tls=mode == "starttls",
        )

    server = await loop.create_server(face, "127.0.0.1", 0, ssl=context if mode == "implicit" else None)
    say(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


mode = sys.argv[1]
account = sys.argv[4:6]
asyncio.run(main())
