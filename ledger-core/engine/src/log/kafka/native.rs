//! The two things that rdkafka has no safe call for. This file, alone in the house, speaks to librdkafka directly.
//!
//! The id that Kafka gives a topic when it is made tells a topic made anew from the old one; rdkafka cannot ask for it.
//! And rdkafka panics on a header whose name is not UTF-8, which a channel with a topic of its own could write.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    ptr, slice,
    time::Duration,
};

use rdkafka::{
    bindings as native,
    client::{Client, ClientContext},
    error::RDKafkaErrorCode,
    message::BorrowedMessage,
};

use crate::log::Headers;

/// What librdkafka gave us to keep, and how it takes it back.
struct Owned<T> {
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// # Safety
    /// `pointer` is null, or ours to destroy with `destroy`.
    unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        (!pointer.is_null()).then_some(Self { pointer, destroy })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that the pointer is ours, and nobody else destroys it.
        unsafe { (self.destroy)(self.pointer) }
    }
}

/// The topic's id in base64; none from a cluster that is too old to have ids.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    wait: Duration,
) -> Result<Option<String>, RDKafkaErrorCode> {
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let mut names = [name.as_ptr()];
    let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    let made = RDKafkaErrorCode::CriticalSystemResource;
    // SAFETY: the client outlives this call; `names` outlives the collection's constructor, which copies it; each object
    // is destroyed once, by its guard, after its last use; the event owns the results that `read` looks at.
    unsafe {
        let queue =
            Owned::new(native::rd_kafka_queue_new(client.native_ptr()), native::rd_kafka_queue_destroy).ok_or(made)?;
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let topics = Owned::new(topics, native::rd_kafka_TopicCollection_destroy).ok_or(made)?;
        let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(client.native_ptr(), operation);
        let options = Owned::new(options, native::rd_kafka_AdminOptions_destroy).ok_or(made)?;
        native::rd_kafka_AdminOptions_set_request_timeout(options.pointer, wait_ms, ptr::null_mut(), 0);
        native::rd_kafka_DescribeTopics(client.native_ptr(), topics.pointer, options.pointer, queue.pointer);
        let event = native::rd_kafka_queue_poll(queue.pointer, wait_ms.saturating_add(1000));
        let event = Owned::new(event, native::rd_kafka_event_destroy).ok_or(RDKafkaErrorCode::RequestTimedOut)?;
        read(event.pointer)
    }
}

/// # Safety
/// `event` is a live event.
unsafe fn read(event: *mut native::rd_kafka_event_t) -> Result<Option<String>, RDKafkaErrorCode> {
    // SAFETY: every pointer below belongs to the event, which lives until we return; each is checked before its use.
    unsafe {
        succeeded(native::rd_kafka_event_error(event).into())?;
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::InvalidType);
        }
        let mut count = 0;
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        let error = native::rd_kafka_TopicDescription_error(*topics);
        if !error.is_null() {
            succeeded(native::rd_kafka_error_code(error).into())?;
        }
        let id = native::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null()
            || (native::rd_kafka_Uuid_most_significant_bits(id), native::rd_kafka_Uuid_least_significant_bits(id))
                == (0, 0)
        {
            return Ok(None);
        }
        Ok(Some(CStr::from_ptr(native::rd_kafka_Uuid_base64str(id)).to_string_lossy().into_owned()))
    }
}

fn succeeded(code: RDKafkaErrorCode) -> Result<(), RDKafkaErrorCode> {
    if code == RDKafkaErrorCode::NoError { Ok(()) } else { Err(code) }
}

/// The headers of a message. What is not UTF-8 in a name is replaced by U+FFFD, so that it is not taken for a
/// known one; a value that is missing is empty.
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Headers {
    let none = native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    let mut list = ptr::null_mut();
    // SAFETY: the message lives while it is borrowed, and owns its list of headers.
    if unsafe { native::rd_kafka_message_headers(message.ptr(), &mut list) } != none {
        return Headers::default();
    }
    let header = |index: usize| {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: librdkafka checks the index; where it answers without an error, `name` is a C string and `value` is
        // null or has `size` bytes, and both belong to the message, which outlives the copies made here.
        unsafe {
            if native::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size) != none {
                return None;
            }
            let bytes = if value.is_null() { &[][..] } else { slice::from_raw_parts(value.cast::<u8>(), size) };
            Some((CStr::from_ptr(name).to_string_lossy(), bytes))
        }
    };
    (0..).map_while(header).collect()
}
