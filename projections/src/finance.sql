-- The public views, pointed at the generation {schema}. Amounts are yuan. 公开视图，金额单位为元。
drop view if exists finance.orders, finance.contract_status, finance.settlements, finance.settlement_days,
    finance.journal, finance.balances, finance.position, finance.open_sagas, finance.breaks, finance.dead_letters,
    finance.cards, finance.mandates, finance.fees, finance.refunds, finance.progress, finance.accounts;
drop function if exists finance.yuan(bigint), finance.log_time();

create function finance.yuan(fen bigint) returns numeric(18, 2) language sql immutable parallel safe
    return (fen::numeric / 100)::numeric(18, 2);

-- What ages are measured against: the newest time that any partition's log has reached.
create function finance.log_time() returns timestamptz language sql stable security definer
    set search_path = engine, pg_temp
    return (select max(log_time) from engine.fence where projection = '{schema}');

create view finance.accounts (account, name, name_zh) as values {accounts};
comment on view finance.accounts is 'The chart of accounts. 会计科目';
comment on column finance.accounts.account is 'Number. 科目代码';
comment on column finance.accounts.name is 'Name. 英文名称';
comment on column finance.accounts.name_zh is 'Chinese name. 科目名称';

create view finance.orders as
select key as order_id, kind, channel, beneficiary, stream, student, status, payment, fulfilment, refund, reason,
       funding, agreement_no, finance.yuan(requested_fen) as requested, finance.yuan(captured_fen) as captured,
       finance.yuan(reversed_fen) as reversed, finance.yuan(confirmed_fen) as confirmed,
       finance.yuan(refunded_fen) as refunded, finance.yuan(refund_open_fen) as refund_open,
       finance.yuan(charged_back_fen) as charged_back, requested_at, expires_at, captured_at, confirmed_at,
       business_date, finance.yuan(fiscal_receipts_fen) as fiscal_receipts, bank_ref,
       partition || ':' || last_offset as position
from {schema}.orders;
comment on view finance.orders is 'One attempt to pay or one purchase, with its totals and status. 订单：一次支付或消费的金额与状态';
comment on column finance.orders.order_id is 'Order number issued by the ledger. 订单号';
comment on column finance.orders.kind is 'Loan repayment, card top-up, fee payment or purchase. 业务类型：还款、充值、缴费、消费';
comment on column finance.orders.channel is 'Who collects. 收款渠道';
comment on column finance.orders.beneficiary is 'Whom the money is for. 收款方';
comment on column finance.orders.stream is 'What stays in order together, and the key in the log. 日志键';
comment on column finance.orders.student is 'Student, by an opaque id. 学生（匿名编号）';
comment on column finance.orders.status is 'Derived status. 订单状态';
comment on column finance.orders.payment is 'What became of the payment. 支付状态';
comment on column finance.orders.fulfilment is 'What became of the booking at the bank, the credit of the card or the posting at the school. 核销、增款或入账状态';
comment on column finance.orders.refund is 'What became of refunds. 退款状态';
comment on column finance.orders.reason is 'Why it is where it is: refusal, refund reason or code. 原因';
comment on column finance.orders.funding is 'What pays for a purchase: card, subsidy or withholding. 消费资金来源';
comment on column finance.orders.agreement_no is 'Agreement under which it is debited. 代扣协议号';
comment on column finance.orders.requested is 'Requested, yuan. 申请金额（元）';
comment on column finance.orders.captured is 'Taken from the payer, yuan. 扣款金额（元）';
comment on column finance.orders.reversed is 'Undone by the channel, yuan. 冲正金额（元）';
comment on column finance.orders.confirmed is 'Booked, credited or posted, and standing, yuan. 核销、增款或入账金额（元）';
comment on column finance.orders.refunded is 'Back with the payer, yuan. 已退金额（元）';
comment on column finance.orders.refund_open is 'Decided and not yet with the payer, yuan. 待退金额（元）';
comment on column finance.orders.charged_back is 'Disputed or lost, yuan. 退单金额（元）';
comment on column finance.orders.requested_at is 'When the log recorded the request. 申请时间';
comment on column finance.orders.expires_at is 'When it lapses if unpaid. 失效时间';
comment on column finance.orders.captured_at is 'When the channel took the money. 扣款时间';
comment on column finance.orders.confirmed_at is 'When the log recorded the booking. 核销时间';
comment on column finance.orders.business_date is 'The channel''s accounting day. 渠道账务日';
comment on column finance.orders.fiscal_receipts is 'Fiscal e-receipts issued less those taken back, yuan. 财政电子票据（元）';
comment on column finance.orders.bank_ref is 'Reference of the bank, card host or school. 银行、卡系统或学校流水号';
comment on column finance.orders.position is 'Where the log last changed this row. 日志位置';

create view finance.contract_status as
select key as stream, contract, contract_type, student, beneficiary, enrolment, finance.yuan(outstanding_fen) as outstanding,
       finance.yuan(overdue_fen) as overdue, quoted_at, finance.yuan(repaid_fen) as repaid, in_flight, uncertain,
       unread, last_repaid_on
from {schema}.contract_status;
comment on view finance.contract_status is 'Loan contracts and their repayments. 贷款合同及还款情况';
comment on column finance.contract_status.stream is 'The contract''s stream in the log. 日志键';
comment on column finance.contract_status.contract is 'Contract reference, opaque. 合同引用（脱敏）';
comment on column finance.contract_status.contract_type is 'Contract type. 合同类型';
comment on column finance.contract_status.student is 'Student, by an opaque id. 学生（匿名编号）';
comment on column finance.contract_status.beneficiary is 'The creditor bank. 贷款银行';
comment on column finance.contract_status.enrolment is 'Signed up for repay-any-time. 随时还款签约';
comment on column finance.contract_status.outstanding is 'Owed as last quoted, yuan. 欠款（元）';
comment on column finance.contract_status.overdue is 'Overdue as last quoted, yuan. 逾期（元）';
comment on column finance.contract_status.quoted_at is 'When the bank quoted it. 报价时间';
comment on column finance.contract_status.repaid is 'Booked through this ledger, yuan. 累计还款（元）';
comment on column finance.contract_status.in_flight is 'Orders in flight. 在途笔数';
comment on column finance.contract_status.uncertain is 'Orders with an uncertain outcome. 不确定笔数';
comment on column finance.contract_status.unread is 'Records that cannot be read; decisions wait for a person. 无法读取的记录数';
comment on column finance.contract_status.last_repaid_on is 'Day of the last booked repayment. 最近还款日';

create view finance.settlements as
select channel, batch_no, period_from, period_to, finance.yuan(gross_fen) as gross, finance.yuan(refunds_fen) as refunds,
       finance.yuan(chargebacks_fen) as chargebacks, finance.yuan(fees_fen) as fees, fees_borne_by,
       finance.yuan(carried_in_fen) as carried_in, finance.yuan(net_fen) as net, transactions,
       finance.yuan(received_fen) as received, finance.yuan(received_fen - greatest(net_fen, 0)) as difference,
       paid_to, bank_refs, partition || ':' || last_offset as position
from {schema}.settlement_batches;
comment on view finance.settlements is 'Settlement batches: reported by the channel, received at the bank. 结算批次';
comment on column finance.settlements.channel is 'Channel. 渠道';
comment on column finance.settlements.batch_no is 'The channel''s batch number. 批次号';
comment on column finance.settlements.period_from is 'First business day. 起始账务日';
comment on column finance.settlements.period_to is 'Last business day. 截止账务日';
comment on column finance.settlements.gross is 'Captured, yuan. 交易总额（元）';
comment on column finance.settlements.refunds is 'Refunded, yuan. 退款总额（元）';
comment on column finance.settlements.chargebacks is 'Charged back, yuan. 退单总额（元）';
comment on column finance.settlements.fees is 'Fees, yuan. 手续费（元）';
comment on column finance.settlements.fees_borne_by is 'Who bore the fees; as agreed: settlement_days. 手续费承担方';
comment on column finance.settlements.carried_in is 'Negative net carried in, yuan. 上期结转（元）';
comment on column finance.settlements.net is 'Net, yuan. 结算净额（元）';
comment on column finance.settlements.transactions is 'Number of transactions. 笔数';
comment on column finance.settlements.received is 'Received at the bank, yuan. 到账金额（元）';
comment on column finance.settlements.difference is 'Received less reported, yuan; 0.00 is right. 差额（元）';
comment on column finance.settlements.paid_to is 'Whose account it came to: us, or a school; as agreed: settlement_days.settles_to. 到账方';
comment on column finance.settlements.bank_refs is 'The bank''s references. 银行流水号';
comment on column finance.settlements.position is 'Where the log last changed this row. 日志位置';

create view finance.settlement_days as
select channel, business_date, finance.yuan(sum(captured_fen)::bigint) as captured,
       finance.yuan(sum(reversed_fen)::bigint) as reversed, finance.yuan(sum(refunded_fen)::bigint) as refunded,
       finance.yuan(sum(charged_back_fen)::bigint) as charged_back, sum(transactions)::bigint as transactions,
       finance.yuan(sum(captured_fen - reversed_fen - refunded_fen - charged_back_fen)::bigint) as expected,
       finance.yuan(sum(fees_fen)::bigint) as fees, min(fees_borne_by) as fees_borne_by,
       finance.yuan(sum(captured_fen - reversed_fen - refunded_fen - charged_back_fen - fees_fen)::bigint) as net,
       min(settles_to) as settles_to, min(period_from) as period_from, min(period_to) as period_to
from {schema}.channel_days group by channel, business_date;
comment on view finance.settlement_days is 'What the ledger expects each channel to settle for a day, by the terms agreed with it. 渠道日汇总';
comment on column finance.settlement_days.channel is 'Channel. 渠道';
comment on column finance.settlement_days.business_date is 'The channel''s accounting day. 渠道账务日';
comment on column finance.settlement_days.captured is 'Captured, yuan. 扣款（元）';
comment on column finance.settlement_days.reversed is 'Reversed, yuan. 冲正（元）';
comment on column finance.settlement_days.refunded is 'Refunded, yuan. 退款（元）';
comment on column finance.settlement_days.charged_back is 'Charged back, yuan. 退单（元）';
comment on column finance.settlement_days.transactions is 'Number of captures. 扣款笔数';
comment on column finance.settlement_days.expected is 'Captured less reversed, refunded and charged back, yuan. 应结算（元）';

comment on column finance.settlement_days.fees is 'Fees as agreed, those given back taken off, yuan. 手续费（元）';
comment on column finance.settlement_days.fees_borne_by is 'Who bears the fees. 手续费承担方';
comment on column finance.settlement_days.net is 'Expected less fees, yuan. 应结净额（元）';
comment on column finance.settlement_days.settles_to is 'Whether the channel pays us or the school. 结算对象';
comment on column finance.settlement_days.period_from is 'First day of the settlement period. 结算周期起';
comment on column finance.settlement_days.period_to is 'Last day of the settlement period. 结算周期止';

create view finance.journal as
select j.partition || ':' || j."offset" as position, j.leg, j.event_id, j.event_type, j.subject, j.account, a.name, j.owner,
       finance.yuan(greatest(amount_fen, 0)) as debit, finance.yuan(greatest(-amount_fen, 0)) as credit,
       occurred_at, recorded_at
from {schema}.journal j join finance.accounts a using (account);
comment on view finance.journal is 'Every leg of every posting. 分录';
comment on column finance.journal.position is 'Where the event stands in the log. 日志位置';
comment on column finance.journal.leg is 'Leg within the event. 分录序号';
comment on column finance.journal.event_id is 'The event. 事件编号';
comment on column finance.journal.event_type is 'Type of the event. 事件类型';
comment on column finance.journal.subject is 'The order or batch. 订单或批次';
comment on column finance.journal.account is 'Account of the chart. 科目';
comment on column finance.journal.name is 'Name of the account. 科目名称';
comment on column finance.journal.owner is 'Whose account: order, contract, channel. 科目归属';
comment on column finance.journal.debit is 'Debit, yuan. 借方（元）';
comment on column finance.journal.credit is 'Credit, yuan. 贷方（元）';
comment on column finance.journal.occurred_at is 'When it happened. 发生时间';
comment on column finance.journal.recorded_at is 'When the log recorded it. 记录时间';

create view finance.balances as
select b.account, a.name, a.name_zh, b.owner, finance.yuan(sum(b.amount_fen)::bigint) as balance
from {schema}.balances b join finance.accounts a using (account)
group by b.account, a.name, a.name_zh, b.owner having sum(b.amount_fen) <> 0;
comment on view finance.balances is 'Trial balance: debit positive, credit negative; sums to zero. 试算表：借正贷负，合计为零';
comment on column finance.balances.account is 'Account of the chart. 科目';
comment on column finance.balances.name is 'Name of the account. 科目名称';
comment on column finance.balances.name_zh is 'Name of the account in Chinese. 科目中文名';
comment on column finance.balances.owner is 'Whose account: order, contract, channel. 科目归属';
comment on column finance.balances.balance is 'Balance, yuan: debit positive. 余额（元，借正贷负）';

create view finance.position as
select coalesce(sum(greatest(-balance, 0)) filter (where account between 2000 and 2999), 0)::numeric(18, 2) as held,
       coalesce(sum(balance) filter (where account between 1010 and 1199), 0)::numeric(18, 2) as located,
       (coalesce(sum(greatest(balance, 0)) filter (where account between 2000 and 2999), 0)
        + coalesce(sum(balance) filter (where account between 1200 and 1999 or account >= 3000), 0))::numeric(18, 2) as gap
from finance.balances;
comment on view finance.position is 'Money held for others, where it is, and the gap: located + gap = held. 代管资金、所在与缺口';
comment on column finance.position.held is 'Held for somebody, yuan. 代管（元）';
comment on column finance.position.located is 'Where it is: banks, channels, in transit, yuan. 所在（元）';
comment on column finance.position.gap is 'Held but not there, yuan. 缺口（元）';

create view finance.open_sagas as
select key as order_id, kind, channel, status, fulfilment, refund, reason,
       finance.yuan(case when status in ('awaiting_debit', 'uncollected') then receivable_fen
                         else captured_fen - reversed_fen - refunded_fen end) as amount,
       coalesce(captured_at, confirmed_at) as since,
       greatest(floor(extract(epoch from finance.log_time() - coalesce(captured_at, confirmed_at)) / 86400), 0)::int
         as age_days,
       partition || ':' || last_offset as position
from {schema}.orders
where status in ('in_dispute', 'exception', 'refund_pending', 'uncertain', 'paid_unconfirmed', 'confirmed_unfunded',
                 'awaiting_load', 'awaiting_debit', 'uncollected');
comment on view finance.open_sagas is 'Orders whose money is not where it belongs yet. 未完结订单';
comment on column finance.open_sagas.order_id is 'Order number. 订单号';
comment on column finance.open_sagas.kind is 'Loan repayment, card top-up, fee payment or purchase. 业务类型';
comment on column finance.open_sagas.channel is 'Channel. 渠道';
comment on column finance.open_sagas.status is 'Status. 状态';
comment on column finance.open_sagas.fulfilment is 'Booking, credit or posting. 核销、增款或入账状态';
comment on column finance.open_sagas.refund is 'Refunds. 退款状态';
comment on column finance.open_sagas.reason is 'Why. 原因';
comment on column finance.open_sagas.amount is 'Money in question, yuan. 涉及金额（元）';
comment on column finance.open_sagas.since is 'When the money was taken, or the purchase made. 起始时间';
comment on column finance.open_sagas.age_days is 'Whole days since, by the log''s time. 账龄（天）';
comment on column finance.open_sagas.position is 'Where the log last changed it. 日志位置';

create view finance.refunds as
select refund_id, order_id, capture_id, channel, status, reason, finance.yuan(asked_fen) as asked,
       finance.yuan(initiated_fen) as initiated, finance.yuan(refunded_fen) as refunded, finance.yuan(open_fen) as open, refusal
from {schema}.refunds;
comment on view finance.refunds is 'Refunds, each with its order. 退款';
comment on column finance.refunds.refund_id is 'Refund. 退款编号';
comment on column finance.refunds.order_id is 'Order number. 订单号';
comment on column finance.refunds.capture_id is 'The payment that goes back. 原支付';
comment on column finance.refunds.channel is 'Channel. 渠道';
comment on column finance.refunds.status is 'What became of it. 退款状态';
comment on column finance.refunds.reason is 'Why the money goes back. 退款原因';
comment on column finance.refunds.asked is 'Asked for by a person or channel, yuan. 申请金额（元）';
comment on column finance.refunds.initiated is 'Decided, yuan. 已发起（元）';
comment on column finance.refunds.refunded is 'Back with the payer, yuan. 已退金额（元）';
comment on column finance.refunds.open is 'Decided and not yet with the payer, yuan. 待退金额（元）';
comment on column finance.refunds.refusal is 'Why it was refused. 拒绝原因';

create view finance.cards as
select key as card, school, holder, finance.yuan(balance_fen) as balance, finance.yuan(pending_load_fen) as pending_load,
       finance.yuan(subsidy_fen) as subsidy, finance.yuan(daily_limit_fen) as daily_limit, suspended, mandate, uncollected,
       unread
from {schema}.cards;
comment on view finance.cards is 'Campus cards, by the ledger''s account. 校园卡';
comment on column finance.cards.card is 'The card''s stream in the log. 日志键';
comment on column finance.cards.school is 'The school that issued it. 发卡学校';
comment on column finance.cards.holder is 'The linked user, by an opaque id. 绑定用户（匿名编号）';
comment on column finance.cards.balance is 'Usable, yuan. 可用余额（元）';
comment on column finance.cards.pending_load is 'Paid and not yet on the card, yuan. 待圈存（元）';
comment on column finance.cards.subsidy is 'Restricted to the campus, yuan. 补助余额（元）';
comment on column finance.cards.daily_limit is 'What may be spent a day, yuan. 每日消费额度（元）';
comment on column finance.cards.suspended is 'Its loss was reported. 已挂失';
comment on column finance.cards.mandate is 'The agreement under which its holder can be debited. 代扣协议号';
comment on column finance.cards.uncollected is 'Purchases whose debit could not be collected. 代扣未收回笔数';
comment on column finance.cards.unread is 'Records that cannot be read; decisions wait for a person. 无法读取的记录数';

create view finance.mandates as
select card, agreement_no, channel, product_code, signed_at, ended_at, active from {schema}.mandates;
comment on view finance.mandates is 'Agreements to debit the holders of cards. 代扣签约';
comment on column finance.mandates.card is 'The card''s stream in the log. 日志键';
comment on column finance.mandates.agreement_no is 'The channel''s number of the agreement. 协议号';
comment on column finance.mandates.channel is 'Channel. 渠道';
comment on column finance.mandates.product_code is 'Kind of agreement. 产品码';
comment on column finance.mandates.signed_at is 'When it was signed. 签约时间';
comment on column finance.mandates.ended_at is 'When it ended. 解约时间';
comment on column finance.mandates.active is 'Whether it is in force. 是否有效';

create view finance.fees as
select i.stream, a.school, a.student, i.fee_item, i.billing_year, finance.yuan(i.assessed_fen) as assessed,
       finance.yuan(i.adjusted_fen) as adjusted, finance.yuan(i.posted_fen) as posted,
       finance.yuan(coalesce(i.assessed_fen, 0) + i.adjusted_fen - i.posted_fen) as outstanding,
       finance.yuan(i.in_hand_fen) as in_hand, i.instalments_allowed, finance.yuan(a.arrears_fen) as arrears_in_all
from {schema}.fee_items i join {schema}.fee_accounts a on a.key = i.stream;
comment on view finance.fees is 'What each student owes by item and year. 学费：按项目和年度的应缴、已缴与欠费';
comment on column finance.fees.stream is 'The student''s fee account in the log. 日志键';
comment on column finance.fees.school is 'School. 学校';
comment on column finance.fees.student is 'Student, by an opaque id. 学生（匿名编号）';
comment on column finance.fees.fee_item is 'Fee item. 收费项目';
comment on column finance.fees.billing_year is 'Year. 收费年度';
comment on column finance.fees.assessed is 'Charged by the school, yuan. 应缴（元）';
comment on column finance.fees.adjusted is 'Added later, or taken off, yuan. 调整（元）';
comment on column finance.fees.posted is 'Paid and posted, yuan. 已缴（元）';
comment on column finance.fees.outstanding is 'Still owed, yuan. 欠费（元）';
comment on column finance.fees.in_hand is 'What payments under way are to pay of it, yuan. 缴费中（元）';
comment on column finance.fees.instalments_allowed is 'Whether it may be paid in parts. 可否分期';
comment on column finance.fees.arrears_in_all is 'What the student owes in all, yuan. 欠费总额（元）';

create view finance.breaks as
select class, subject, detail, finance.yuan(amount_fen) as amount, grace_until,
       grace_until is null or grace_until <= finance.log_time() as open
from {schema}.breaks;
comment on view finance.breaks is 'Combinations that may not last, and differences with channels'' statements; open once their grace is over. 差异';
comment on column finance.breaks.class is 'Class of the break. 差异类型';
comment on column finance.breaks.subject is 'Order or contract; of a difference with a channel''s statement, the break and which occurrence of it. 订单或合同；对账差异为差异编号/次数';
comment on column finance.breaks.detail is 'Detail. 说明';
comment on column finance.breaks.amount is 'Money in question, yuan; of a difference with a statement, what the channel has beyond the ledger. 涉及金额（元）；对账差异为渠道减账面';
comment on column finance.breaks.grace_until is 'Until when it may stand. 宽限至';
comment on column finance.breaks.open is 'Whether its grace is over, so that it waits for somebody. 宽限期已过、待处理';

create view finance.dead_letters as
select partition || ':' || "offset" as position, recorded_at, key, code, detail, bytes, resolved_at, resolution
from {schema}.dead_letters;
comment on view finance.dead_letters is 'Records that cannot be read as events. 死信';
comment on column finance.dead_letters.position is 'Where it stands in the log. 日志位置';
comment on column finance.dead_letters.recorded_at is 'When the log recorded it. 记录时间';
comment on column finance.dead_letters.key is 'Key of the record. 键';
comment on column finance.dead_letters.code is 'Why it is refused. 拒绝代码';
comment on column finance.dead_letters.detail is 'Why, in words. 拒绝原因';
comment on column finance.dead_letters.bytes is 'The record itself. 原始内容';
comment on column finance.dead_letters.resolved_at is 'When a person had dealt with it; empty: its stream waits. 处理时间';
comment on column finance.dead_letters.resolution is 'What was found and done. 处理说明';

create view finance.progress with (security_barrier) as
select partition, next_offset, nullif(log_time, 'epoch') as log_time from engine.fence where projection = '{schema}';
comment on view finance.progress is 'How far the reports have come, by partition of the log. 报表进度';
comment on column finance.progress.partition is 'Partition. 分区';
comment on column finance.progress.next_offset is 'The next offset to be read. 下一偏移';
comment on column finance.progress.log_time is 'The log''s time there. 日志时间';

grant select on all tables in schema finance to ledger_reader;
revoke select on finance.generation from ledger_reader;
