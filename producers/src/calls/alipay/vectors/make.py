#!/usr/bin/env python3
"""Makes vectors.json: a call of ours and an answer of Alipay's, signed by openssl with the sandbox's keys."""

import base64
import json
import subprocess
from pathlib import Path
from urllib.parse import quote_plus

HERE = Path(__file__).parent
KEYS = HERE.parents[2] / "sandbox" / "keys"


def rsa_sha256(message, key):
    command = ["openssl", "dgst", "-sha256", "-sign", str(KEYS / f"{key}.private.pem")]
    return base64.b64encode(subprocess.run(command, input=message, capture_output=True, check=True).stdout).decode()


content = {
    "agreement_params": {"agreement_no": "20265301000000000001"},
    "out_trade_no": "C" + "A" * 29,
    "product_code": "GENERAL_WITHHOLDING",
    "subject": "第一食堂 3号窗",
    "total_amount": "12.50",
}
call = {
    "app_id": "2021000000000000",
    "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
    "charset": "utf-8",
    "format": "JSON",
    "method": "alipay.trade.pay",
    "notify_url": "https://school.example/v1/notify/alipay-withholding",
    "sign_type": "RSA2",
    "timestamp": "2026-03-01 08:31:00",
    "version": "1.0",
}
signed = "&".join(f"{name}={value}" for name, value in sorted(call.items()))
call["sign"] = rsa_sha256(signed.encode(), "ours")
# The gateway escapes slashes, and what it signs is its own spelling.
node = (
    '{"code":"10000","msg":"Success","buyer_logon_id":"159****5620","gmt_payment":"2026-03-01 23:59:59",'
    '"out_trade_no":"' + content["out_trade_no"] + '","total_amount":"12.50",'
    '"trade_no":"2026030122001400000000000001","url":"https:\\/\\/a\\/b"}'
)
answer = '{"alipay_trade_pay_response":' + node + ',"sign":"' + rsa_sha256(node.encode(), "alipay") + '"}'

if __name__ == "__main__":
    vectors = {"call": "&".join(f"{name}={quote_plus(value)}" for name, value in sorted(call.items())), "answer": answer}
    (HERE / "vectors.json").write_text(json.dumps(vectors, ensure_ascii=False, indent=2) + "\n")
